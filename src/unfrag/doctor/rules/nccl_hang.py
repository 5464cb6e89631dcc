"""Ranks wait for each other for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding
from unfrag.facts.log import Log

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF027"
CAUSE = "nccl_hang"
HEALTHY = "No rank is known to wait for another."


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    event = evidence.said(snapshot, "nccl_timeout")
    if event is not None:
        return _finding("A collective operation of the ranks timed out.", event.text, 0.92)
    net = evidence.said(snapshot, "nccl_net")
    if net is not None:
        return _finding("NCCL could not reach another rank over the network.", net.text, 0.9)
    if (silent := _silent(snapshot)) is not None:
        return silent
    gloo = evidence.said(snapshot, "gloo", "custom_allreduce")
    return _finding("The ranks lost each other.", gloo.text, 0.6) if gloo is not None else None


def _silent(snapshot: Snapshot) -> Finding | None:
    """NCCL came up, nothing failed, and nothing is generated."""
    init = evidence.fact(snapshot, "nccl_init")
    log = snapshot.log
    if init is None or not isinstance(log, Log) or log.ooms:
        return None
    stopped = "0%" in log.last_line and "Processed prompts" in log.last_line
    waiting = evidence.fact(snapshot, "core_waiting", "shm_broadcast", "rpc_timeout")
    loading = evidence.fact(snapshot, "model_loaded", "kv_size") is None and not log.ready
    last = "NCCL" in log.last_line or "nccl" in log.last_line or "pynccl" in log.last_line
    if stopped or (last and not log.ready):
        return _finding("NCCL came up, and then nothing moved.", log.last_line, 0.75)
    quiet = not log.last(
        "other_error", "engine_dead", "worker_died", "bare_oom", "unknown_argument", "sigkill", "oom_killer"
    )
    if loading and quiet and waiting is None and log.events[-1].kind == "nccl_init":
        return _finding("NCCL came up, and the log ends there.", init.text, 0.72)
    if waiting is not None and loading:
        return _finding("NCCL came up, and then the ranks waited for each other.", waiting.text, 0.86)
    return None


def _finding(seen: str, line: str, confidence: float) -> Finding:
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="critical",
        confidence=confidence,
        summary=seen,
        evidence=(line,),
        fixes=(
            "NCCL_DEBUG=INFO NCCL_P2P_DISABLE=1 vllm serve … --disable-custom-all-reduce   # if it then runs, direct card-to-card copies hang",
            "BIOS: turn ACS and IOMMU off for the cards' bridges; in a virtual machine leave P2P disabled",
            "py-spy dump --pid PID_OF_EACH_WORKER   # the rank that stands elsewhere is the cause; the others wait for it",
        ),
        meaning="One rank does not arrive; memory is not the cause, however full the cards look.",
        harmless="Never: no request is answered.",
    )
