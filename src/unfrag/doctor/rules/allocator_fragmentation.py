"""An allocation failed although memory was free: PyTorch holds pieces that are each too small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence, oom
from unfrag.doctor.weigh.judged import judged, weaker
from unfrag.facts.memory_stats import Pool
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.finding import Certainty
    from unfrag.facts.snapshot import Snapshot

CAUSE = "allocator_fragmentation"
looked = evidence.serves


def can_judge(snapshot: Snapshot) -> bool:
    return evidence.has_text(snapshot) or isinstance(snapshot.allocator, tuple)


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    view = oom.of(snapshot)
    if view is not None:
        return _from_oom(snapshot, view, thresholds)
    return (
        _from_snapshot(snapshot, thresholds)
        or _from_ranks(snapshot, thresholds)
        or _free_but_failed(snapshot, thresholds)
    )


def _from_oom(snapshot: Snapshot, view: oom.View, thresholds: dict[str, Any]) -> Judged | None:
    """Unused bytes in PyTorch must be a good part of what was asked for, large, and enough together with what is free."""
    unused = view.unallocated or 0
    enough = unused + (view.free or 0) >= view.asked
    if unused < thresholds["reserved_bytes"] or view.fragmented < thresholds["part_of_request"] or not enough:
        return None
    share = view.share(unused)
    little = share is not None and share < thresholds["reserved_ratio"]
    crowded = (view.share(view.others) or 0) > thresholds["others"] and view.fragmented < 1.5
    steps = 2 * little + (view.asked < thresholds["small_request"]) + 2 * crowded + (view.stage == "graphs")
    certainty = weaker("proven" if view.fragmented >= 1 else "likely", steps)
    return _judged(snapshot, "failed", view.oom.text, certainty, asked=size(view.asked), unused=size(unused))


def _from_snapshot(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    for device in snapshot.allocator if isinstance(snapshot.allocator, tuple) else ():
        split = device.inactive_split_bytes
        large = split >= thresholds["reserved_bytes"] and split >= device.reserved_bytes * thresholds["reserved_ratio"]
        if large and device.largest_free_bytes < split * thresholds["largest_part"]:
            line = f"device {device.device}: {device.segments} segments, {size(device.reserved_bytes)} reserved"
            return _judged(
                snapshot, "segments", line, "likely", unused=size(split), largest=size(device.largest_free_bytes)
            )
    return None


def _from_ranks(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    for rank in snapshot.pool.ranks if isinstance(snapshot.pool, Pool) else ():
        split, largest = rank.inactive_split_bytes, rank.largest_free_segment_bytes
        if split is None or rank.reserved_bytes is None:
            continue
        large = (
            split >= 4 * thresholds["reserved_bytes"] and split >= rank.reserved_bytes * thresholds["reserved_ratio"]
        )
        if not large or (largest is not None and largest >= split * thresholds["largest_part"]):
            continue
        line = f"inactive_split_bytes {split}, reserved_bytes {rank.reserved_bytes}"
        if largest is None:
            return _judged(snapshot, "rank", line, "strong", rank=rank.rank, unused=size(split))
        return _judged(
            snapshot, "rank_largest", line, "strong", rank=rank.rank, unused=size(split), largest=size(largest)
        )
    return None


def _free_but_failed(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    event = evidence.said(snapshot, "free_but_failed")
    free = event.numbers.get("free", 0.0) if event else 0.0
    if event is None or free < thresholds["reserved_bytes"]:
        return None
    return _judged(snapshot, "free_but_failed", event.text, "possible", free=size(free))


def _judged(snapshot: Snapshot, seen: str, line: str, certainty: Certainty, **values: Any) -> Judged:
    setting = evidence.env(snapshot, "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF") or ""
    fixes: tuple[str, ...] = ("mapped", "flush")
    if "expandable_segments:true" in setting.lower().replace(" ", ""):
        step, tokens = evidence.smaller_step(snapshot)
        fixes = (*step, "flush", "restart")
        values |= tokens
    return judged(seen, line, certainty, fixes=fixes, **values)
