"""Prometheus text of an engine: vLLM's names (V1, then V0), then SGLang's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from unfrag.facts.snapshot import Metrics
from unfrag.facts.values import Unknown

if TYPE_CHECKING:
    from prometheus_client.samples import Sample

_SUMS = {
    "running": ("vllm:num_requests_running", "sglang:num_running_reqs"),
    "waiting": ("vllm:num_requests_waiting", "sglang:num_queue_reqs"),
    "preemptions": ("vllm:num_preemptions", "sglang:num_retracted_requests", "sglang:num_retracted_reqs"),
    "iterations": ("vllm:iteration_tokens_total", "vllm:iteration_tokens"),
    "requests": ("vllm:request_success", "sglang:num_requests", "vllm:request_generation_tokens"),
    "prefix_queries": ("vllm:prefix_cache_queries", "vllm:gpu_prefix_cache_queries"),
    "prefix_hits": ("vllm:prefix_cache_hits", "vllm:gpu_prefix_cache_hits"),
    "resident_bytes": ("process_resident_memory_bytes",),
    "evicted_tokens": ("sglang:evicted_tokens",),
    "hit_rate": ("sglang:cache_hit_rate",),
}
_SAMPLE = re.compile(
    r"^\s*(?:# (?:TYPE|HELP) .*|[A-Za-z:](?=\w*[_:])[\w:]*(?:\{[^{}]*\})?\s+[-+]?(?:\d[\w.+-]*|NaN|Inf)(?:\s+\d+)?)"
)
_LARGEST = 1e18  # beyond it nothing was counted; NaN is left out by the same comparison
_MOST_LINES, _LONGEST_LINE = 50_000, 8000
_SUFFIX = re.compile(r"_(?:total|sum|count|bucket|created)$")
_USAGE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage")


def parse(text: str) -> Metrics | Unknown:
    """Prometheus text. Counters and gauges are summed over engines; usage is the fullest engine's."""
    samples: dict[str, list[Sample]] = {}
    try:
        for family in text_string_to_metric_families(_exported(text)):
            for sample in family.samples:
                # Pasted text often lacks the TYPE lines, so what belongs together is found by name.
                base = _SUFFIX.sub("", sample.name)
                if not sample.name.endswith("_created") and abs(sample.value) <= _LARGEST:
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
        expert_balance=max((sample.value for sample in samples.get("unfrag_expert_balance_ratio", ())), default=None),
        kv_cache_usage=max(usage) if usage else None,
        deferred=sum(deferred) if deferred else None,
        idle_before_evict=_mean(samples.get("vllm:kv_block_idle_before_evict_seconds", [])),
        reuse_gap=_mean(samples.get("vllm:kv_block_reuse_gap_seconds", [])),
        request_tokens=_tokens(samples),
        cache_config=dict(info[0].labels) if info else {},
    )


def _exported(text: str) -> str:
    """The lines that are Prometheus text: people paste remarks between them."""
    found = (_SAMPLE.match(line[:_LONGEST_LINE]) for line in text.splitlines()[:_MOST_LINES])
    return "\n".join(line[0] for line in found if line) + "\n"


def remarks(text: str) -> str:
    """What people wrote between the metrics."""
    return "\n".join(line for line in text.splitlines() if not _SAMPLE.match(line))


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
