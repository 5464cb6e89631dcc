"""KV blocks wait for a transfer that will not come, and nobody frees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding
from unfrag.facts.snapshot import Metrics

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF017"
CAUSE = "kv_transfer_leak"
HEALTHY = "No KV transfer is known to hang."
_KINDS = ("kv_pull_failed", "kv_transfer_failed", "kv_expired", "kv_remote_waiting", "kv_deferred", "kv_pinned")
looked = evidence.serves


def can_judge(snapshot: Snapshot) -> bool:
    told = evidence.said(snapshot, *_KINDS) is not None or any(load.deferred for load in evidence.loads(snapshot))
    return told or (
        evidence.moves_blocks(snapshot) and (evidence.has_text(snapshot) or isinstance(snapshot.metrics, Metrics))
    )


def _held_by_nobody(snapshot: Snapshot, thresholds: dict[str, Any]) -> str:
    """The pool is in use, nothing runs, and requests wait."""
    metrics = snapshot.metrics
    if isinstance(metrics, Metrics) and metrics.running == 0 and (metrics.kv_cache_usage or 0) >= thresholds["usage"]:
        return f"nothing runs and {metrics.kv_cache_usage:.0%} of the pool is held"
    idle = [
        load for load in evidence.loads(snapshot)[-6:] if load.running == 0 and (load.usage or 0) >= thresholds["usage"]
    ]
    if len(idle) >= (1 if evidence.said(snapshot, *_KINDS) else 2):
        return f"nothing runs and {idle[-1].usage:.0%} of the pool is held"
    return ""


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
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
    seen = f"{failed} KV transfers failed or expired" if failed else "Requests wait for KV that does not arrive"
    if stuck:
        seen += f"; {deferred[-1]:.0f} requests are deferred and none leaves"
    if held:
        seen += f"; {held}"
    line = (
        event.text
        if event
        else held
        if held
        else leak.text
        if leak
        else f"Deferred: {deferred[0]:.0f} … {deferred[-1]:.0f}"
    )
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="critical",
        confidence=0.94 if held and event is not None else 0.88 if event is not None or leak is not None else 0.8,
        summary=seen + ".",
        evidence=(line,),
        fixes=(
            '--kv-transfer-config \'{… "kv_connector_extra_config": {"kv_lease_duration": 30}}\'   # prefill side: frees what nobody fetched, after seconds (before 0.32: VLLM_NIXL_ABORT_REQUEST_TIMEOUT)',
            '--kv-transfer-config \'{… "kv_load_failure_policy": "recompute"}\'   # on the decode side: a failed pull is computed again',
            "restart the decode server: the blocks come back only with the process",
        ),
        meaning="A request that waits for remote KV holds its blocks; a failed pull that nobody reports holds them for ever.",
        harmless="Single expiries, after a client went away.",
    )
