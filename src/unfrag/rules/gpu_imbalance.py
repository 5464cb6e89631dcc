"""Cards of one server hold very different amounts: a configuration error, not fragmentation."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from unfrag.facts import Finding, Gpus, Launch
from unfrag.reports import size

if TYPE_CHECKING:
    from unfrag.facts import Snapshot

ID = "UF001"
CAUSE = "gpu_imbalance"
HEALTHY = "The cards are filled evenly."


def can_judge(snapshot: Snapshot) -> bool:
    return isinstance(snapshot.gpus, Gpus)


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    used = _used_by_card(snapshot)
    wanted = _wanted_cards(snapshot)
    if used and wanted is not None and len(used) < wanted:
        low, seen = 0, f"{len(used)} of {wanted} cards are in use"
    elif len(used) < 2:
        return None
    else:
        low, seen = min(used.values()), "; ".join(f"{card}: {size(held)}" for card, held in used.items())
    high = max(used.values())
    if low >= high * thresholds["ratio"] or high - low < thresholds["bytes"]:
        return None
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="warning",
        confidence=0.8,
        summary="The cards are filled unevenly. The fullest one decides how much KV cache all of them get.",
        evidence=(seen,),
        fixes=("nvidia-smi -L; check CUDA_VISIBLE_DEVICES and --tensor-parallel-size against it",),
    )


def _used_by_card(snapshot: Snapshot) -> dict[str, int]:
    """Bytes in use by card, from the cards themselves or, failing that, from their processes."""
    assert isinstance(snapshot.gpus, Gpus)
    cards = {f"GPU {gpu.index}": gpu.used_bytes for gpu in snapshot.gpus.gpus if gpu.used_bytes is not None}
    if cards:
        return cards
    held: dict[str, int] = defaultdict(int)
    for process in snapshot.gpus.processes:
        if process.gpu_uuid is not None and process.used_bytes is not None:
            held[process.gpu_uuid] += process.used_bytes
    return dict(held)


def _wanted_cards(snapshot: Snapshot) -> int | None:
    if not isinstance(snapshot.launch, Launch) or (isinstance(snapshot.gpus, Gpus) and snapshot.gpus.gpus):
        return None
    value = snapshot.launch.flags.get("--tensor-parallel-size") or snapshot.launch.flags.get("-tp")
    return int(value) if value and value.isdecimal() else None
