"""The card cannot run the kernel: its generation, or its on-chip memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.doctor.weigh.judged import judged

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.finding import Certainty
    from unfrag.facts.snapshot import Snapshot

CAUSE = "unsupported_hardware_kernel"


_KINDS: tuple[tuple[str, Certainty], ...] = (
    ("on_chip_memory", "proven"),
    ("kernel_image", "proven"),
    ("capability", "proven"),
    ("no_backend", "strong"),
)


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    for kind, certainty in _KINDS:
        event = evidence.said(snapshot, kind)
        if event is not None:
            return judged(kind, event.text, certainty)
    return None
