"""Running requests are thrown out of the pool and computed again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.facts import Finding, Metrics, Pool

if TYPE_CHECKING:
    from unfrag.facts import Snapshot

ID = "UF005"
CAUSE = "preemption_thrash"
HEALTHY = "Hardly any request was preempted."


def can_judge(snapshot: Snapshot) -> bool:
    return isinstance(snapshot.metrics, Metrics) and snapshot.metrics.preemptions is not None


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    metrics = snapshot.metrics
    assert isinstance(metrics, Metrics)
    preempted, finished = metrics.preemptions or 0, metrics.requests or 0
    if preempted < thresholds["preemptions"] or preempted < finished * thresholds["ratio"]:
        return None
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="warning",
        confidence=0.8,
        summary=f"{preempted:.0f} preemptions for {finished:.0f} finished requests since start: work is done twice.",
        evidence=(f"vllm:num_preemptions_total {preempted:.0f}, vllm:request_success_total {finished:.0f}",),
        fixes=_fixes(snapshot),
    )


def _fixes(snapshot: Snapshot) -> tuple[str, ...]:
    pool = snapshot.pool
    running = snapshot.metrics.running if isinstance(snapshot.metrics, Metrics) else None
    if isinstance(pool, Pool) and pool.pinned_blocks and running and pool.total_blocks:
        seats = int(running * pool.total_blocks // pool.pinned_blocks)
        return (f"--max-num-seqs {max(1, seats)}   # what the pool holds at the size requests have now",)
    return ("--max-num-seqs N   # as many as the pool holds: its tokens over those of one request",)
