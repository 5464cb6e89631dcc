"""Running requests are thrown out of the pool and computed again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding
from unfrag.facts.memory_stats import Pool
from unfrag.facts.snapshot import Metrics

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF005"
CAUSE = "preemption_thrash"
HEALTHY = "Hardly any request was preempted."


def can_judge(snapshot: Snapshot) -> bool:
    counted = isinstance(snapshot.metrics, Metrics) and snapshot.metrics.preemptions is not None
    return counted or evidence.has_text(snapshot)


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    return _from_metrics(snapshot, thresholds) or _from_log(snapshot, thresholds)


def _from_metrics(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    metrics = snapshot.metrics
    if not isinstance(metrics, Metrics):
        return None
    preempted, finished = metrics.preemptions or 0, metrics.requests or 0
    if metrics.requests is None and preempted < thresholds["uncounted"]:
        return None
    if preempted < thresholds["preemptions"] or preempted < finished * thresholds["ratio"]:
        return None
    seen = f"{preempted:.0f} preemptions for {finished:.0f} finished requests since start: work is done twice."
    line = f"vllm:num_preemptions_total {preempted:.0f}, vllm:request_success_total {finished:.0f}"
    return _finding(snapshot, seen, line, 0.86)


def _from_log(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    retracted = evidence.said(snapshot, "retracted")
    if retracted is not None and "Decode out of memory" in retracted.text:
        return _finding(snapshot, "Decoding ran out of KV slots and requests were sent back.", retracted.text, 0.9)
    event = evidence.said(snapshot, "preempted")
    loads = [load.preemptions for load in evidence.loads(snapshot) if load.preemptions]
    times = max(
        evidence.count(snapshot, "preempted"),
        evidence.count(snapshot, "retracted"),
        int(sum(e.numbers.get("count", 0) for log in evidence.logs(snapshot) for e in log.all("retracted"))),
        int(max(loads, default=0)),
        int(event.numbers.get("total", 0)) if event else 0,
        *(int(e.numbers.get("total", 0)) for log in evidence.logs(snapshot) for e in log.all("preempted")),
    )
    if times < thresholds["log_preemptions"]:
        return None
    seen = f"At least {times} times a running request was thrown out of the KV pool."
    line = event.text if event else retracted.text if retracted else f"Preemptions: {times} reqs"
    return _finding(snapshot, seen, line, 0.86)


def _finding(snapshot: Snapshot, seen: str, line: str, confidence: float) -> Finding:
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="warning",
        confidence=confidence,
        summary=seen,
        evidence=(line,),
        fixes=_fixes(snapshot),
        meaning="More requests were let in than the pool holds to their end; the youngest lose their blocks and start again.",
        harmless="When it happens to less than one request in twenty.",
    )


def _fixes(snapshot: Snapshot) -> tuple[str, ...]:
    pool = snapshot.pool
    running = snapshot.metrics.running if isinstance(snapshot.metrics, Metrics) else None
    if isinstance(pool, Pool) and pool.pinned_blocks and running and pool.total_blocks:
        seats = int(running * pool.total_blocks // pool.pinned_blocks)
        first = f"--max-num-seqs {max(1, seats)}   # what the pool holds at the size requests have now"
    else:
        busy = [load.running for load in evidence.loads(snapshot) if load.running]
        seats = int(min(busy)) if busy else 0
        first = (
            f"--max-num-seqs {seats}   # the fewest that ran at once in this log, as a first guess"
            if seats > 1
            else "--max-num-seqs N   # as many as the pool holds: its tokens over those of one request"
        )
    return first, "--kv-cache-dtype fp8   # or twice the tokens in the same memory; measure quality"


def looked(snapshot: Snapshot) -> bool:
    """Metrics, or load lines, say how full the pool is."""
    return isinstance(snapshot.metrics, Metrics) or bool(evidence.loads(snapshot))
