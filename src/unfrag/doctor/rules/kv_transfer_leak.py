"""KV blocks wait for a transfer that will not come, and nobody frees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.doctor.weigh.judged import judged
from unfrag.facts.snapshot import Metrics

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.finding import Certainty
    from unfrag.facts.snapshot import Snapshot

CAUSE = "kv_transfer_leak"
_KINDS = ("kv_pull_failed", "kv_transfer_failed", "kv_expired", "kv_remote_waiting", "kv_deferred", "kv_pinned")
looked = evidence.serves


def can_judge(snapshot: Snapshot) -> bool:
    told = evidence.said(snapshot, *_KINDS) is not None or any(load.deferred for load in evidence.loads(snapshot))
    return told or (
        evidence.moves_blocks(snapshot) and (evidence.has_text(snapshot) or isinstance(snapshot.metrics, Metrics))
    )


def _held_by_nobody(snapshot: Snapshot, thresholds: dict[str, Any]) -> float:
    """The share of the pool that is in use while nothing runs and requests wait; 0: that is not so."""
    metrics = snapshot.metrics
    if isinstance(metrics, Metrics) and metrics.running == 0 and (metrics.kv_cache_usage or 0) >= thresholds["usage"]:
        return metrics.kv_cache_usage or 0.0
    idle = [
        load for load in evidence.loads(snapshot)[-6:] if load.running == 0 and (load.usage or 0) >= thresholds["usage"]
    ]
    if len(idle) >= (1 if evidence.said(snapshot, *_KINDS) else 2):
        return idle[-1].usage or 0.0
    return 0.0


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    event = evidence.said(snapshot, *_KINDS)
    failed = sum(evidence.count(snapshot, kind) for kind in ("kv_pull_failed", "kv_transfer_failed", "kv_expired"))
    deferred = [load.deferred for load in evidence.loads(snapshot) if load.deferred]
    stuck = len(deferred) >= 3 and deferred[-1] >= deferred[0] > 0
    leak = evidence.said(snapshot, "pool_leak")
    held = _held_by_nobody(snapshot, thresholds)
    if event is None and not stuck and leak is None and not held:
        return None
    if (
        event is not None
        and event.kind == "kv_expired"
        and failed < thresholds["expired"]
        and not stuck
        and leak is None
        and not held
    ):
        return None
    seen: tuple[str, ...] = ("failed" if failed else "waiting",)
    values: dict[str, Any] = {"failed": failed} if failed else {}
    if stuck:
        seen, values["deferred"] = (*seen, "stuck"), deferred[-1]
    if held:
        seen, values["usage"] = (*seen, "held"), held
    nobody = f"nothing runs and {held:.0%} of the pool is held" if held else ""
    line = (
        event.text if event else nobody or (leak.text if leak else f"Deferred: {deferred[0]:.0f} … {deferred[-1]:.0f}")
    )
    certainty: Certainty = "proven" if event is not None or leak is not None else "strong"
    return judged((*seen, "end"), line, certainty, **values)
