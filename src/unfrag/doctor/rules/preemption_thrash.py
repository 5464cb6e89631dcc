"""Running requests are preempted and computed again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.doctor.weigh.judged import judged
from unfrag.facts.memory_stats import Pool
from unfrag.facts.snapshot import Metrics

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.finding import Certainty
    from unfrag.facts.snapshot import Snapshot

CAUSE = "preemption_thrash"


def can_judge(snapshot: Snapshot) -> bool:
    counted = isinstance(snapshot.metrics, Metrics) and snapshot.metrics.preemptions is not None
    return counted or evidence.has_text(snapshot)


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    return _from_metrics(snapshot, thresholds) or _from_log(snapshot, thresholds)


def _from_metrics(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    metrics = snapshot.metrics
    if not isinstance(metrics, Metrics):
        return None
    preempted, finished = metrics.preemptions or 0, metrics.requests or 0
    if metrics.requests is None and preempted < thresholds["uncounted"]:
        return None
    if preempted < thresholds["preemptions"] or preempted < finished * thresholds["ratio"]:
        return None
    line = f"vllm:num_preemptions_total {preempted:.0f}"
    if metrics.requests is None:
        return _judged(snapshot, "uncounted", line, "strong", preempted=preempted)
    line += f", vllm:request_success_total {finished:.0f}"
    return _judged(snapshot, "counted", line, "strong", preempted=preempted, finished=finished)


def _from_log(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    retracted = evidence.said(snapshot, "retracted")
    if retracted is not None and "Decode out of memory" in retracted.text:
        return _judged(snapshot, "decode", retracted.text, "proven")
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
    line = event.text if event else retracted.text if retracted else f"Preemptions: {times} reqs"
    return _judged(snapshot, "logged", line, "strong", times=times)


def _judged(snapshot: Snapshot, seen: str, line: str, certainty: Certainty, **values: Any) -> Judged:
    """With a first guess at how many requests may run at once."""
    pool = snapshot.pool
    running = snapshot.metrics.running if isinstance(snapshot.metrics, Metrics) else None
    if isinstance(pool, Pool) and pool.pinned_blocks and running and pool.total_blocks:
        most = max(1, int(running * pool.total_blocks // pool.pinned_blocks))
        return judged(seen, line, certainty, fixes=("pool", "fp8"), most=most, **values)
    busy = [load.running for load in evidence.loads(snapshot) if load.running]
    fewest = int(min(busy)) if busy else 0
    if fewest > 1:
        return judged(seen, line, certainty, fixes=("fewest", "fp8"), most=fewest, **values)
    return judged(seen, line, certainty, fixes=("lower", "fp8"), **values)


def looked(snapshot: Snapshot) -> bool:
    """Metrics, or load lines, say how full the pool is."""
    return isinstance(snapshot.metrics, Metrics) or bool(evidence.loads(snapshot))
