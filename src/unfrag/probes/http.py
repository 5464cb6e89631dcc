"""A running server, over HTTP: ``/health``, ``/metrics``, ``/v1/models``, ``/version``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from unfrag.errors import UsageError
from unfrag.facts import Metrics, Pool, Unknown

if TYPE_CHECKING:
    from prometheus_client.samples import Sample

TIMEOUT_SECONDS = 2.0
NO_ANSWER = "no answer"
NO_PLUGIN = (
    "/health answers without memory_stats: unfrag's plugin is not enabled in this server. Start it with "
    "`unfrag serve …` instead of `vllm serve …`, or add unfrag to VLLM_PLUGINS"
)
# vLLM's names first (V1, then V0), then SGLang's.
_SUMS = {
    "running": ("vllm:num_requests_running", "sglang:num_running_reqs"),
    "waiting": ("vllm:num_requests_waiting", "sglang:num_queue_reqs"),
    "preemptions": ("vllm:num_preemptions", "sglang:num_retracted_requests", "sglang:num_retracted_reqs"),
    "requests": ("vllm:request_success", "sglang:num_requests", "vllm:request_generation_tokens"),
    "prefix_queries": ("vllm:prefix_cache_queries", "vllm:gpu_prefix_cache_queries"),
    "prefix_hits": ("vllm:prefix_cache_hits", "vllm:gpu_prefix_cache_hits"),
    "resident_bytes": ("process_resident_memory_bytes",),
}
_SUFFIX = re.compile(r"_(?:total|sum|count|bucket|created)$")
_USAGE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage")


def client(url: str) -> httpx.Client:
    """A client for one server. Proxies of the environment are not used: a server is asked directly.

    Raises:
        UsageError: this is no address of a server.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise UsageError(f"--url {url!r} is no address; write http://HOST:PORT")
    return httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False)


def read_pool(server: httpx.Client) -> Pool | Unknown:
    """``memory_stats`` of the plugin."""
    try:
        answer = server.get("/health")
    except httpx.HTTPError as fault:
        return Unknown(_why(fault))
    return parse_health(answer.content, answer.status_code)


def parse_health(body: bytes, status: int = 200) -> Pool | Unknown:
    """The body of ``/health``; the article's bare ``{"gpu_cache_usage": …}`` is taken too."""
    if status == httpx.codes.SERVICE_UNAVAILABLE:
        return Unknown("/health says 503: the engine is dead")
    if status != httpx.codes.OK:
        return Unknown(f"/health answers {status}")
    try:
        raw: Any = msgspec.json.decode(body) if body.strip() else {}
        return _pool(raw) if isinstance(raw, dict) else Unknown("/health does not answer with a JSON object")
    except (msgspec.DecodeError, msgspec.ValidationError) as fault:
        return Unknown(f"/health is not as expected: {fault}")


def _pool(raw: dict[str, Any]) -> Pool | Unknown:
    stats = raw.get("memory_stats", raw if "free_blocks" in raw else None)
    if stats is None:
        return Unknown(f"no memory statistics yet: {raw['unknown']}" if raw.get("unknown") else NO_PLUGIN)
    pool = msgspec.convert(stats, Pool)
    if pool.largest_free_block > pool.free_blocks or pool.free_blocks > (pool.total_blocks or pool.free_blocks):
        return Unknown("/health contradicts itself: more blocks free than there are")
    return pool


def read_metrics(server: httpx.Client) -> Metrics | Unknown:
    """The engine's Prometheus metrics: vLLM's or SGLang's."""
    try:
        answer = server.get("/metrics", follow_redirects=True)
        answer.raise_for_status()
    except httpx.HTTPError as fault:
        return Unknown(_why(fault))
    return parse_metrics(answer.text)


def parse_metrics(text: str) -> Metrics | Unknown:
    """Prometheus text. Counters and gauges are summed over engines; usage is the fullest engine's."""
    samples: dict[str, list[Sample]] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                # Pasted text often lacks the TYPE lines, so what belongs together is found by name.
                base = _SUFFIX.sub("", sample.name)
                if not sample.name.endswith("_created"):
                    samples.setdefault(base, []).append(sample)
    except Exception as fault:
        return Unknown(f"/metrics is not Prometheus text: {fault}")
    if not any(name.startswith(("vllm:", "sglang:", "unfrag_")) for name in samples):
        return Unknown("/metrics has no vllm: or sglang: metric")
    usage = [sample.value for sample in _first(samples, _USAGE)]
    info = samples.get("vllm:cache_config_info")
    by_reason = samples.get("vllm:num_requests_waiting_by_reason", ())
    deferred = [sample.value for sample in by_reason if sample.labels.get("reason") == "deferred"]
    return Metrics(
        **{field: _sum(_first(samples, names)) for field, names in _SUMS.items()},
        kv_cache_usage=max(usage) if usage else None,
        deferred=sum(deferred) if deferred else None,
        idle_before_evict=_mean(samples.get("vllm:kv_block_idle_before_evict_seconds", [])),
        reuse_gap=_mean(samples.get("vllm:kv_block_reuse_gap_seconds", [])),
        request_tokens=_tokens(samples),
        cache_config=dict(info[0].labels) if info else {},
    )


def _first(samples: dict[str, list[Sample]], names: tuple[str, ...]) -> list[Sample]:
    return next((samples[name] for name in names if name in samples), [])


def _sum(samples: list[Sample]) -> float | None:
    """Of a counter or gauge over its labels; of a histogram how many it counted."""
    counted = [sample for sample in samples if sample.name.endswith("_count")] or samples
    return sum(sample.value for sample in counted) if samples else None


def _tokens(samples: dict[str, list[Sample]]) -> float | None:
    """Mean tokens of a request, prompt and answer."""
    parts = [_mean(samples.get(f"vllm:request_{part}_tokens", [])) for part in ("prompt", "generation")]
    return None if None in parts else sum(part or 0.0 for part in parts)


def _mean(samples: list[Sample]) -> float | None:
    """Of a histogram; from its buckets where a paste left the sum out."""
    total = sum(s.value for s in samples if s.name.endswith("_sum"))
    number = sum(s.value for s in samples if s.name.endswith("_count"))
    if number and total:
        return total / number
    buckets = sorted((float(s.labels.get("le", "inf")), s.value) for s in samples if s.name.endswith("_bucket"))
    half = buckets[-1][1] / 2 if buckets else 0.0
    return next((edge for edge, below in buckets if below >= half > 0 and edge != float("inf")), None)


def read_model(server: httpx.Client) -> tuple[str | Unknown, int | Unknown]:
    """(served model name, its maximum length) of the first model."""
    try:
        first = server.get("/v1/models").raise_for_status().json()["data"][0]
        length = first.get("max_model_len")
    except httpx.HTTPError as fault:
        return Unknown(_why(fault)), Unknown(_why(fault))
    except (ValueError, LookupError, TypeError, AttributeError):
        unknown = Unknown("/v1/models does not answer as OpenAI's API does")
        return unknown, unknown
    return str(first.get("id")), length if isinstance(length, int) else Unknown("/v1/models does not say")


def read_version(server: httpx.Client) -> str | Unknown:
    """The engine's version."""
    try:
        return str(server.get("/version").raise_for_status().json()["version"])
    except httpx.HTTPError as fault:
        return Unknown(_why(fault))
    except (ValueError, LookupError, TypeError):
        return Unknown("/version does not answer as vLLM does")


def _why(fault: httpx.HTTPError) -> str:
    if isinstance(fault, httpx.HTTPStatusError):
        return f"{fault.request.url.path} answers {fault.response.status_code}"
    if isinstance(fault, httpx.TimeoutException):
        return f"{NO_ANSWER} within {TIMEOUT_SECONDS:.0f} s"
    return f"cannot connect ({fault})" if isinstance(fault, httpx.ConnectError) else str(fault) or type(fault).__name__
