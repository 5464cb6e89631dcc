"""The shared memory of the container (``/dev/shm``) is full or too small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.doctor.weigh.judged import judged
from unfrag.facts.snapshot import Host
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.snapshot import Snapshot

CAUSE = "shm_too_small"


def can_judge(snapshot: Snapshot) -> bool:
    return evidence.has_text(snapshot) or isinstance(snapshot.host, Host)


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    event = evidence.said(snapshot, "nccl_shm", "dataloader_shm", "shm_full", "shm_open")
    disk = evidence.said(snapshot, "disk_full")
    if event is None and disk is not None and any("shared_memory" in f or "shm" in f for f in disk.frames):
        event = disk
    bus = evidence.said(snapshot, "bus_error")
    full = evidence.fact(snapshot, "shm_df")
    host = snapshot.host
    gib = max(8, 4 * evidence.ranks(snapshot))
    if event is not None:
        return judged("refused", event.text, "proven" if event.kind != "shm_open" else "strong", gib=gib)
    if bus is not None:
        return judged("bus", bus.text, "strong", gib=gib)
    if full is not None and full.numbers.get("percent", 0) >= thresholds["percent"]:
        return judged("full", full.text, "strong", gib=gib, percent=full.numbers["percent"])
    if isinstance(host, Host) and host.shm_bytes is not None and host.shm_free_bytes is not None:
        small = host.shm_bytes <= thresholds["bytes"] and evidence.ranks(snapshot) > 1
        if small or host.shm_free_bytes < host.shm_bytes * thresholds["ratio"]:
            free, total = size(host.shm_free_bytes), size(host.shm_bytes)
            return judged("left", f"/dev/shm has {free} free of {total}.", "likely", gib=gib, free=free, total=total)
    return None


def looked(snapshot: Snapshot) -> bool:
    """The host was asked, or a server's log shows that it serves."""
    return isinstance(snapshot.host, Host) or evidence.serves(snapshot)
