"""Something else is wrong; memory is not the cause."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence, oom
from unfrag.doctor.weigh.judged import judged
from unfrag.facts.snapshot import Metrics

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.finding import Certainty
    from unfrag.facts.snapshot import Snapshot

CAUSE = "not_memory"
_KINDS: tuple[tuple[str, Certainty], ...] = (
    ("xid", "proven"),
    ("illegal_access", "strong"),
    ("rdma", "strong"),
    ("limits", "strong"),
    ("port_in_use", "strong"),
    ("hub", "strong"),
    ("file_missing", "likely"),
    ("permission", "likely"),
    ("compiler", "likely"),
    ("nccl_error", "likely"),
    ("disk_full", "likely"),
    ("template", "likely"),
    ("segfault", "possible"),
    ("invalid_device", "possible"),
    ("over_budget", "likely"),
    ("prompt_too_long", "possible"),
)
_OF_ONE_REQUEST = ("prompt_too_long", "over_budget", "template")
_ECHOES_OF_A_CARD = ("nccl_hang", "engine_stalled", "isolation_breach")
_OF_MEMORY = re.compile(r"calloc|out of memory|cudaMalloc|alloc(?:ation)? fail", re.IGNORECASE)
looked = evidence.serves


def can_judge(snapshot: Snapshot) -> bool:
    return evidence.has_text(snapshot) or isinstance(snapshot.metrics, Metrics)


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    if oom.of(snapshot) is not None:
        return None
    for kind, certainty in _KINDS:
        event = evidence.said(snapshot, kind)
        if event is None or (event.ready and kind in ("prompt_too_long", "permission", "file_missing", "hub")):
            continue
        if kind == "nccl_error" and _OF_MEMORY.search(event.text):
            continue
        harmless = "once" if kind in _OF_ONE_REQUEST else "never"
        explains = _ECHOES_OF_A_CARD if kind == "xid" else ()
        return judged(kind, event.text, certainty, fixes=(kind,), meaning="flags", harmless=harmless, explains=explains)
    return _limited(snapshot, thresholds) or _some_error(snapshot)


def _limited(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    """Requests wait although the pool has room: --max-num-seqs is what holds them back."""
    loads = [x for x in evidence.loads(snapshot)[-60:] if x.running and x.usage is not None]
    held = [x for x in loads if (x.waiting or 0) >= thresholds["waiting"] and (x.usage or 0) < thresholds["usage"]]
    metrics = snapshot.metrics
    if isinstance(metrics, Metrics) and metrics.running and metrics.kv_cache_usage is not None:
        running, waiting, usage = metrics.running, metrics.waiting or 0, metrics.kv_cache_usage
        if waiting < thresholds["waiting"] or usage >= thresholds["usage"]:
            return None
    elif len(held) >= max(3, len(loads) * thresholds["samples"]):
        running, waiting, usage = held[-1].running or 0, held[-1].waiting or 0, held[-1].usage or 0
    else:
        return None
    return judged(
        "limited",
        f"running {running:.0f}, waiting {waiting:.0f}, usage {usage:.1%}",
        "likely",
        severity="warning",
        fixes=("more",),
        meaning="limited",
        harmless="limited",
        waiting=waiting,
        running=running,
        usage=usage,
        most=int(running / max(usage, 0.05) * 0.9),
    )


def _some_error(snapshot: Snapshot) -> Judged | None:
    """An error that ended the server and is none of those above: that it is unknown is said with it."""
    error = evidence.said(snapshot, "other_error")
    ended = evidence.said(snapshot, "engine_dead", "worker_died")
    denied = evidence.fact(snapshot, "no_memory_fault")
    if denied is None and (error is None or (error.ready and ended is None)):
        return None
    if error is not None and (
        re.search(r"[Mm]emory|KV|OOM|RuntimeError: Engine", error.text) or _OF_MEMORY.search(error.text)
    ):
        return None
    text = error.text if error is not None else denied.text if denied is not None else ""
    known: dict[str, Any] = {"meaning": "unknown", "harmless": "serves"}
    if error is None:
        return judged("denied", text, "possible", severity="info", fixes=("first",), **known)
    return judged("error", text, "possible", fixes=("first",), **known)
