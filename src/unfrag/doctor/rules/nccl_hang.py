"""Ranks wait for each other for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.doctor.weigh.judged import judged
from unfrag.facts.log import Log

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.snapshot import Snapshot

CAUSE = "nccl_hang"


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    event = evidence.said(snapshot, "nccl_timeout")
    if event is not None:
        return judged("timeout", event.text, "proven")
    net = evidence.said(snapshot, "nccl_net")
    if net is not None:
        return judged("network", net.text, "proven")
    if (silent := _silent(snapshot)) is not None:
        return silent
    gloo = evidence.said(snapshot, "gloo", "custom_allreduce")
    return judged("lost", gloo.text, "likely") if gloo is not None else None


def _silent(snapshot: Snapshot) -> Judged | None:
    """NCCL came up, nothing failed, and nothing is generated."""
    init = evidence.fact(snapshot, "nccl_init")
    log = snapshot.log
    if init is None or not isinstance(log, Log) or log.ooms:
        return None
    stopped = "0%" in log.last_line and "Processed prompts" in log.last_line
    waiting = evidence.fact(snapshot, "core_waiting", "shm_broadcast", "rpc_timeout")
    loading = evidence.fact(snapshot, "model_loaded", "kv_size") is None and not log.ready
    last = "NCCL" in log.last_line or "nccl" in log.last_line or "pynccl" in log.last_line
    told = "about:hangs" in log.terms
    if stopped or (last and not log.ready and told):
        return judged("still", log.last_line, "strong")
    if last and not log.ready:  # or the log was read while the server started
        return judged("still", log.last_line, "possible", severity="warning")
    quiet = not log.last(
        "other_error", "engine_dead", "worker_died", "bare_oom", "unknown_argument", "sigkill", "oom_killer"
    )
    if loading and quiet and waiting is None and log.events[-1].kind == "nccl_init":
        return judged("ends", init.text, "likely" if told else "possible", severity=None if told else "warning")
    if waiting is not None and loading:
        return judged("waited", waiting.text, "strong")
    return None
