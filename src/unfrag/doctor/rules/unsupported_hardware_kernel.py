"""The card cannot run the kernel: its generation, or its on-chip memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF022"
CAUSE = "unsupported_hardware_kernel"
HEALTHY = "No kernel was refused by the card."


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    for kind, confidence, seen in (
        (
            "on_chip_memory",
            0.95,
            "A kernel needs more on-chip shared memory than the card has; the card's large memory is not meant.",
        ),
        ("kernel_image", 0.92, "The program was built without code for this card's generation."),
        ("capability", 0.9, "The card's compute capability is too low for what was asked for."),
        ("no_backend", 0.8, "No attention back end serves this model on this card."),
    ):
        event = evidence.said(snapshot, kind)
        if event is not None:
            return Finding(
                id=ID,
                cause=CAUSE,
                severity="critical",
                confidence=confidence,
                summary=seen,
                evidence=(event.text,),
                fixes=(
                    "--dtype float16   # where bfloat16 is what the card lacks",
                    "choose another quantisation or back end: --quantization awq, --attention-backend TRITON_ATTN, --moe-backend triton",
                    "nvidia-smi --query-gpu=name,compute_cap --format=csv   # compare with what the message wants",
                ),
                meaning="This is about the chip and not about free memory; no memory flag changes it.",
                harmless="Never: the kernel does not run.",
            )
    return None
