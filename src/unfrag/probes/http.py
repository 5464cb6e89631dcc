"""A running server, over HTTP: ``/health``, ``/metrics``, ``/v1/models``, ``/version``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from unfrag.errors import UsageError
from unfrag.facts import Metrics, Pool, Unknown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

TIMEOUT_SECONDS = 2.0
NO_ANSWER = "no answer"
NO_PLUGIN = (
    "/health answers without memory_stats: unfrag's plugin is not enabled in this server. Start it with "
    "`unfrag serve …` instead of `vllm serve …`, or add unfrag to VLLM_PLUGINS"
)
_GAUGES = {
    "running": "vllm:num_requests_running",
    "waiting": "vllm:num_requests_waiting",
    "preemptions": "vllm:num_preemptions",
    "requests": "vllm:request_success",
    "prefix_queries": "vllm:prefix_cache_queries",
    "prefix_hits": "vllm:prefix_cache_hits",
}


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
    """vLLM's Prometheus metrics."""
    try:
        answer = server.get("/metrics", follow_redirects=True)
        answer.raise_for_status()
    except httpx.HTTPError as fault:
        return Unknown(_why(fault))
    return parse_metrics(answer.text)


def parse_metrics(text: str) -> Metrics | Unknown:
    """Prometheus text. Counters and gauges are summed over engines; usage is the fullest engine's."""
    try:
        families = {family.name: family for family in text_string_to_metric_families(text)}
    except Exception as fault:
        return Unknown(f"/metrics is not Prometheus text: {fault}")
    if not any(name.startswith("vllm:") for name in families):
        return Unknown("/metrics has no vllm: metric: this is not vLLM")
    usage = _samples(families.get("vllm:kv_cache_usage_perc"))
    info = families.get("vllm:cache_config_info")
    return Metrics(
        **{field: _sum(families.get(name)) for field, name in _GAUGES.items()},
        kv_cache_usage=max(usage) if usage else None,
        cache_config=dict(info.samples[0].labels) if info and info.samples else {},
    )


def _samples(family: Metric | None) -> list[float]:
    wanted: Iterable[Any] = family.samples if family else ()
    return [s.value for s in wanted if not s.name.endswith("_created")]


def _sum(family: Metric | None) -> float | None:
    values = _samples(family)
    return sum(values) if values else None


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
