"""The context or the concurrency that is asked for needs more KV cache than there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding, Severity
from unfrag.facts.memory_stats import Pool
from unfrag.facts.snapshot import Metrics
from unfrag.units import GIB, size

if TYPE_CHECKING:
    from unfrag.facts.log import Event
    from unfrag.facts.snapshot import Snapshot

ID = "UF004"
CAUSE = "kv_pool_too_small"
HEALTHY = "The KV pool is not known to be too small for what runs."


def can_judge(snapshot: Snapshot) -> bool:
    live = isinstance(snapshot.pool, Pool) and isinstance(snapshot.metrics, Metrics)
    return live or evidence.has_text(snapshot)


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    entries = evidence.said(snapshot, "cache_entries")
    if entries is not None:
        return _finding(
            snapshot, "The KV cache has fewer entries than requests may run.", entries.text, 0.9, None, None
        )
    refused = evidence.said(snapshot, "kv_context", "prompt_over_pool")
    if refused is not None and not _only_too_long(snapshot, refused, thresholds):
        return _refused(snapshot, refused)
    none = evidence.said(snapshot, "kv_none")
    if none is not None:
        return _finding(snapshot, "Nothing is left for the KV cache.", none.text, 0.66, None, None)
    return _queue(snapshot, thresholds) or _one_request(snapshot, thresholds)


def _only_too_long(snapshot: Snapshot, event: Event, thresholds: dict[str, Any]) -> bool:
    """SGLang says the same of a prompt beyond the context and of one beyond the pool: compare the two."""
    asked = evidence.number(snapshot, "--max-model-len")
    if "allowed" in event.numbers and asked is not None and event.numbers["allowed"] < asked * thresholds["allowed"]:
        return False
    size = evidence.fact(snapshot, "kv_size")
    pool, context = (size.numbers.get("total"), size.numbers.get("context")) if size else (None, None)
    return "allowed" in event.numbers and not (pool and context and pool < context)


def _refused(snapshot: Snapshot, event: Event) -> Finding:
    numbers = event.numbers
    fits = int(numbers.get("fits") or numbers.get("tokens") or 0)
    if event.kind == "prompt_over_pool":
        return _finding(snapshot, "A prompt is longer than the whole KV pool.", event.text, 0.9, None, None)
    if "need" in numbers:
        asked = f"a context of {numbers['length']:,.0f} tokens" if "length" in numbers else "the context"
        seen = f"{size(numbers['need'])} of KV are needed for {asked}, and {size(numbers['have'])} are there."
    else:
        seen = f"A context of {numbers.get('length', 0):,.0f} tokens does not fit into a pool of {fits:,}."
    missing = numbers.get("need", 0.0) - numbers.get("have", 0.0)
    return _finding(snapshot, seen, event.text, 0.95, fits or None, missing or None, have=numbers.get("have"))


def _queue(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    pool, metrics = snapshot.pool, snapshot.metrics
    if isinstance(pool, Pool) and isinstance(metrics, Metrics):
        waiting = metrics.waiting or 0
        if pool.gpu_cache_usage >= thresholds["usage"] and waiting >= thresholds["waiting"] and metrics.running:
            holds = f"The pool of {pool.capacity_tokens:,} tokens" if pool.capacity_tokens else "The pool"
            seen = f"{holds} is {pool.gpu_cache_usage:.0%} full and {waiting:.0f} requests wait."
            line = f"running {metrics.running or 0:.0f}, waiting {waiting:.0f}, usage {pool.gpu_cache_usage:.3f}"
            return _finding(snapshot, seen, line, 0.8, None, None, "warning")
    elif isinstance(metrics, Metrics) and metrics.running:
        waiting = metrics.waiting or 0
        if (metrics.kv_cache_usage or 0) >= thresholds["usage"] and waiting >= thresholds["waiting"]:
            seen = f"The pool is {metrics.kv_cache_usage:.0%} full and {waiting:.0f} requests wait."
            line = f"running {metrics.running:.0f}, waiting {waiting:.0f}"
            return _finding(snapshot, seen, line, 0.78, None, None, "warning")
    loads = [load for load in evidence.loads(snapshot)[-60:] if load.running]
    full = [x for x in loads if (x.usage or 0) >= thresholds["usage"] and (x.waiting or 0) >= thresholds["waiting"]]
    if len(full) >= max(2, len(loads) * thresholds["samples"]):
        last = full[-1]
        seen = f"In {len(full)} of {len(loads)} samples the pool was full while requests waited."
        line = f"running {last.running:.0f}, waiting {last.waiting:.0f}, usage {last.usage:.1%}"
        return _finding(snapshot, seen, line, 0.78, None, None, "warning")
    return None


def _one_request(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    times = evidence.fact(snapshot, "concurrency")
    if times is not None and times.numbers.get("times", 9.0) < thresholds["concurrency"]:
        seen = f"The pool holds {times.numbers['times']:.2f} requests of full length at once."
        return _finding(snapshot, seen, times.text, 0.74, None, None, "warning")
    return None


def _more_of_the_card(snapshot: Snapshot, missing: float | None) -> list[str]:
    """A higher share of the card, where it stays below what can be had."""
    given, card = evidence.utilization(snapshot) or 0.92, evidence.card_bytes(snapshot)
    if missing is None or card is None:
        return ["raise --gpu-memory-utilization if the cards have memory to spare, or add cards"]
    wanted = given + missing / card
    if wanted > 0.97:
        return [f"add cards: {missing / GIB:.1f} GiB more on each are not there"]
    return [f"--gpu-memory-utilization {wanted + 0.005:.2f}   # {missing / GIB:.2f} GiB more on each card"]


def _finding(
    snapshot: Snapshot,
    seen: str,
    line: str,
    confidence: float,
    fits: int | None,
    missing: float | None,
    severity: Severity = "critical",
    have: float | None = None,
) -> Finding:
    fixes = []
    if fits:
        fixes.append(f"--max-model-len {fits}   # what fits now")
    enough = missing is None or have is None or (have > 0 and have + missing <= 2 * have)
    if enough and not evidence.kv_is_fp8(snapshot):
        fixes.append(
            "--kv-cache-dtype fp8   # twice the tokens in the same memory; rounds keys and values: measure quality"
        )
    fixes += _more_of_the_card(snapshot, missing)
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


def looked(snapshot: Snapshot) -> bool:
    """Metrics, or load lines, say how full the pool is."""
    return isinstance(snapshot.metrics, Metrics) or bool(evidence.loads(snapshot))
