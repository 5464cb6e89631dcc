"""An allocation failed although memory was free: PyTorch holds pieces that are each too small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.rules import oom
from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding
from unfrag.facts.memory_stats import Pool
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF003"
CAUSE = "allocator_fragmentation"
HEALTHY = "No allocation is known to have failed with enough memory free."
looked = evidence.serves


def can_judge(snapshot: Snapshot) -> bool:
    return evidence.has_text(snapshot) or isinstance(snapshot.allocator, tuple)


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    view = oom.of(snapshot)
    if view is not None:
        return _from_oom(snapshot, view, thresholds)
    return (
        _from_snapshot(snapshot, thresholds)
        or _from_ranks(snapshot, thresholds)
        or _free_but_failed(snapshot, thresholds)
    )


def _from_oom(snapshot: Snapshot, view: oom.View, thresholds: dict[str, Any]) -> Finding | None:
    """Unused bytes in PyTorch must be a good part of what was asked for, large, and enough together with what is free."""
    unused = view.unallocated or 0
    enough = unused + (view.free or 0) >= view.asked
    if unused < thresholds["reserved_bytes"] or view.fragmented < thresholds["part_of_request"] or not enough:
        return None
    confidence = 0.9 if view.fragmented >= 1 else 0.72
    share = view.share(unused)
    if share is not None and share < thresholds["reserved_ratio"]:
        confidence -= 0.2
    if (view.share(view.others) or 0) > thresholds["others"] and view.fragmented < 1.5:
        confidence -= 0.3
    if view.stage == "graphs":
        confidence -= 0.15
    said = f"{size(view.asked)} could not be had while PyTorch held {size(unused)} unused, in smaller pieces."
    return _finding(snapshot, said, view.oom.text, round(confidence, 2))


def _from_snapshot(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    for device in snapshot.allocator if isinstance(snapshot.allocator, tuple) else ():
        split = device.inactive_split_bytes
        large = split >= thresholds["reserved_bytes"] and split >= device.reserved_bytes * thresholds["reserved_ratio"]
        if large and device.largest_free_bytes < split * thresholds["largest_part"]:
            said = (
                f"{size(split)} lie unused in segments that are in use, the largest piece {size(device.largest_free_bytes)}: "
                "a request above that asks the driver for more."
            )
            return _finding(
                snapshot,
                said,
                f"device {device.device}: {device.segments} segments, {size(device.reserved_bytes)} reserved",
                0.7,
            )
    return None


def _from_ranks(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    for rank in snapshot.pool.ranks if isinstance(snapshot.pool, Pool) else ():
        split, largest = rank.inactive_split_bytes, rank.largest_free_segment_bytes
        if split is None or rank.reserved_bytes is None:
            continue
        large = (
            split >= 4 * thresholds["reserved_bytes"] and split >= rank.reserved_bytes * thresholds["reserved_ratio"]
        )
        if large and (largest is None or largest < split * thresholds["largest_part"]):
            said = f"Rank {rank.rank}: PyTorch keeps {size(split)} in pieces between live tensors" + (
                f", the largest of {size(largest)}." if largest is not None else "."
            )
            return _finding(snapshot, said, f"inactive_split_bytes {split}, reserved_bytes {rank.reserved_bytes}", 0.75)
    return None


def _free_but_failed(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    event = evidence.said(snapshot, "free_but_failed")
    free = event.numbers.get("free", 0.0) if event else 0.0
    if event is None or free < thresholds["reserved_bytes"]:
        return None
    said = (
        f"An allocation failed with {size(free)} free. Guides call this confirmed fragmentation; the line does not "
        "say how much was asked for, so it may as well have been too much."
    )
    return _finding(snapshot, said, event.text, 0.4)


def _finding(snapshot: Snapshot, said: str, line: str, confidence: float) -> Finding:
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="critical",
        confidence=confidence,
        summary=said,
        evidence=(line,),
        fixes=_fixes(snapshot),
        meaning="Memory is there, in holes between tensors that live; a smaller or a mapped allocation would have fitted.",
        harmless="When what is unused is small against what was asked for: PyTorch prints its hint all the same.",
    )


def _fixes(snapshot: Snapshot) -> tuple[str, ...]:
    setting = evidence.env(snapshot, "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF") or ""
    flush = "unfrag flush --only allocator   # gives whole unused segments back; what lies between live tensors stays"
    if "expandable_segments:true" in setting.lower().replace(" ", ""):
        return tuple(
            filter(
                None, (evidence.smaller_step(snapshot), flush, "restart at a quiet hour: a fresh start has no holes")
            )
        )
    mapped = "PYTORCH_ALLOC_CONF=expandable_segments:True   # in its environment; not with a KV connector or sleep mode"
    return mapped, flush
