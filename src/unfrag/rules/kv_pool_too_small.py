"""The context or the concurrency that is asked for needs more KV cache than there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.facts import Finding, Metrics, Pool, Severity
from unfrag.reports import size
from unfrag.rules import evidence

if TYPE_CHECKING:
    from unfrag.events import Event
    from unfrag.facts import Snapshot

ID = "UF004"
CAUSE = "kv_pool_too_small"
HEALTHY = "The KV pool is not known to be too small for what runs."


def can_judge(snapshot: Snapshot) -> bool:
    live = isinstance(snapshot.pool, Pool) and isinstance(snapshot.metrics, Metrics)
    return live or evidence.has_text(snapshot)


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    entries = evidence.said(snapshot, "cache_entries")
    if entries is not None:
        return _finding("The KV cache has fewer entries than requests may run.", entries.text, 0.9, None, None)
    refused = evidence.said(snapshot, "kv_context", "prompt_over_pool")
    if refused is not None and not _only_too_long(snapshot, refused, thresholds):
        return _refused(refused)
    none = evidence.said(snapshot, "kv_none")
    if none is not None:
        return _finding("Nothing is left for the KV cache.", none.text, 0.66, None, None)
    return _queue(snapshot, thresholds) or _one_request(snapshot, thresholds)


def _only_too_long(snapshot: Snapshot, event: Event, thresholds: dict[str, Any]) -> bool:
    """SGLang says the same of a prompt beyond the context and of one beyond the pool: compare the two."""
    asked = evidence.number(snapshot, "--max-model-len")
    if "allowed" in event.numbers and asked is not None and event.numbers["allowed"] < asked * thresholds["allowed"]:
        return False
    size = evidence.fact(snapshot, "kv_size")
    pool, context = (size.numbers.get("total"), size.numbers.get("context")) if size else (None, None)
    return "allowed" in event.numbers and not (pool and context and pool < context)


def _refused(event: Event) -> Finding:
    numbers = event.numbers
    fits = int(numbers.get("fits") or numbers.get("tokens") or 0)
    if event.kind == "prompt_over_pool":
        return _finding("A prompt is longer than the whole KV pool.", event.text, 0.9, None, None)
    if "need" in numbers:
        asked = f"a context of {numbers['length']:,.0f} tokens" if "length" in numbers else "the context"
        seen = f"{size(numbers['need'])} of KV are needed for {asked}, and {size(numbers['have'])} are there."
    else:
        seen = f"A context of {numbers.get('length', 0):,.0f} tokens does not fit into a pool of {fits:,}."
    missing = numbers.get("need", 0.0) - numbers.get("have", 0.0)
    return _finding(seen, event.text, 0.95, fits or None, missing or None)


def _queue(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    pool, metrics = snapshot.pool, snapshot.metrics
    if isinstance(pool, Pool) and isinstance(metrics, Metrics):
        waiting = metrics.waiting or 0
        if pool.gpu_cache_usage >= thresholds["usage"] and waiting >= thresholds["waiting"] and metrics.running:
            holds = f"The pool of {pool.capacity_tokens:,} tokens" if pool.capacity_tokens else "The pool"
            seen = f"{holds} is {pool.gpu_cache_usage:.0%} full and {waiting:.0f} requests wait."
            line = f"running {metrics.running or 0:.0f}, waiting {waiting:.0f}, usage {pool.gpu_cache_usage:.3f}"
            return _finding(seen, line, 0.8, None, None, "warning")
    elif isinstance(metrics, Metrics) and metrics.running:
        waiting = metrics.waiting or 0
        if (metrics.kv_cache_usage or 0) >= thresholds["usage"] and waiting >= thresholds["waiting"]:
            seen = f"The pool is {metrics.kv_cache_usage:.0%} full and {waiting:.0f} requests wait."
            line = f"running {metrics.running:.0f}, waiting {waiting:.0f}"
            return _finding(seen, line, 0.78, None, None, "warning")
    loads = [load for load in evidence.loads(snapshot)[-60:] if load.running]
    full = [x for x in loads if (x.usage or 0) >= thresholds["usage"] and (x.waiting or 0) >= thresholds["waiting"]]
    if len(full) >= max(2, len(loads) * thresholds["samples"]):
        last = full[-1]
        seen = f"In {len(full)} of {len(loads)} samples the pool was full while requests waited."
        line = f"running {last.running:.0f}, waiting {last.waiting:.0f}, usage {last.usage:.1%}"
        return _finding(seen, line, 0.78, None, None, "warning")
    return None


def _one_request(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    times = evidence.fact(snapshot, "concurrency")
    if times is not None and times.numbers.get("times", 9.0) < thresholds["concurrency"]:
        seen = f"The pool holds {times.numbers['times']:.2f} requests of full length at once."
        return _finding(seen, times.text, 0.74, None, None, "warning")
    return None


def _finding(
    seen: str, line: str, confidence: float, fits: int | None, missing: float | None, severity: Severity = "critical"
) -> Finding:
    fixes = [
        "--kv-cache-dtype fp8   # twice the tokens in the same memory; rounds keys and values: measure quality",
        "raise --gpu-memory-utilization if the cards have memory to spare, or add cards",
    ]
    if missing:
        fixes[1] = f"--gpu-memory-utilization higher by {missing / evidence.GIB:.2f} GiB / card   # or add cards"
    if fits:
        fixes.insert(0, f"--max-model-len {fits}   # what fits now")
    return Finding(
        id=ID,
        cause=CAUSE,
        severity=severity,
        confidence=confidence,
        summary=seen,
        evidence=(line,),
        fixes=tuple(fixes),
        meaning="Every token of every running request keeps its keys and values; only more memory, smaller ones, or fewer help.",
        harmless="When a queue is what you want: waiting costs first-token time and no tokens.",
    )
