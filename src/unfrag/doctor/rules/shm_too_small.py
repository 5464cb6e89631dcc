"""The shared memory of the container (``/dev/shm``) is full or too small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding
from unfrag.facts.snapshot import Host
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF018"
CAUSE = "shm_too_small"
HEALTHY = "Nothing complains about shared memory."


def can_judge(snapshot: Snapshot) -> bool:
    return evidence.has_text(snapshot) or isinstance(snapshot.host, Host)


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    event = evidence.said(snapshot, "nccl_shm", "dataloader_shm", "shm_full", "shm_open")
    disk = evidence.said(snapshot, "disk_full")
    if event is None and disk is not None and any("shared_memory" in f or "shm" in f for f in disk.frames):
        event = disk
    bus = evidence.said(snapshot, "bus_error")
    full = evidence.fact(snapshot, "shm_df")
    host = snapshot.host
    if event is not None:
        return _finding(
            snapshot, "Shared memory could not be had.", event.text, 0.92 if event.kind != "shm_open" else 0.8
        )
    if bus is not None:
        return _finding(snapshot, "A bus error: a page of shared memory had no memory behind it.", bus.text, 0.82)
    if full is not None and full.numbers.get("percent", 0) >= thresholds["percent"]:
        return _finding(snapshot, f"/dev/shm is {full.numbers['percent']:.0f}% full.", full.text, 0.8)
    if isinstance(host, Host) and host.shm_bytes is not None and host.shm_free_bytes is not None:
        small = host.shm_bytes <= thresholds["bytes"] and evidence.ranks(snapshot) > 1
        if small or host.shm_free_bytes < host.shm_bytes * thresholds["ratio"]:
            seen = f"/dev/shm has {size(host.shm_free_bytes)} free of {size(host.shm_bytes)}."
            return _finding(snapshot, seen, seen, 0.7)
    return None


def _finding(snapshot: Snapshot, seen: str, line: str, confidence: float) -> Finding:
    gib = max(8, 4 * evidence.ranks(snapshot))
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="critical",
        confidence=confidence,
        summary=seen,
        evidence=(line,),
        fixes=(
            f"docker run --shm-size={gib}g …   # or --ipc=host; compose: shm_size: {gib}gb",
            f"kubernetes: an emptyDir with medium: Memory and sizeLimit: {gib}Gi at /dev/shm",
            "df -h /dev/shm; rm /dev/shm/nccl-* /dev/shm/psm_*   # what dead processes left, when no server runs",
        ),
        meaning="Ranks and NCCL talk through files in /dev/shm; docker gives a container 64 MiB of it unless told.",
        harmless="Never, once it is said.",
    )


def looked(snapshot: Snapshot) -> bool:
    """The host was asked, or a server's log shows that it serves."""
    return isinstance(snapshot.host, Host) or evidence.serves(snapshot)
