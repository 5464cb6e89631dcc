"""An allocation failed although memory was free: PyTorch holds pieces that are each too small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.facts import Finding, Log
from unfrag.reports import size

if TYPE_CHECKING:
    from unfrag.facts import AllocationFailure, Snapshot

ID = "UF003"
CAUSE = "allocator_fragmentation"
HEALTHY = "No allocation failed with enough memory free."


def can_judge(snapshot: Snapshot) -> bool:
    return isinstance(snapshot.log, Log) and snapshot.log.lines > 0


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    assert isinstance(snapshot.log, Log)
    for failure in reversed(snapshot.log.failures):
        confidence, why = _weigh(failure, thresholds)
        if confidence:
            return Finding(
                id=ID,
                cause=CAUSE,
                severity="critical",
                confidence=confidence,
                summary=why,
                evidence=(failure.line,),
                fixes=(
                    "PYTORCH_ALLOC_CONF=expandable_segments:True   # in its environment; not with a KV connector",
                    "unfrag flush --only allocator   # gives unused allocator memory back at once",
                ),
            )
    return None


def _weigh(failure: AllocationFailure, thresholds: dict[str, Any]) -> tuple[float, str]:
    """Confidence and sentence. PyTorch's hint about fragmentation is in every such message and counts for nothing."""
    asked, free, unused = failure.asked_bytes, failure.free_bytes, failure.reserved_unallocated_bytes
    if asked is not None and unused is not None:
        if unused >= max(asked, thresholds["reserved_bytes"]):
            return (
                0.8,
                f"{size(asked)} could not be had while PyTorch held {size(unused)} unused, in smaller pieces.",
            )
        return 0.0, ""
    if asked is None and free is not None and free >= thresholds["reserved_bytes"]:
        return 0.4, (
            f"An allocation failed with {size(free)} free. Guides call this confirmed fragmentation; the line does not "
            "say how much was asked for, so it may as well have been too much."
        )
    return 0.0, ""
