"""The experts' scratch memory does not fit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from unfrag.doctor.rules import oom
from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF013"
CAUSE = "moe_workspace"
HEALTHY = "The experts' workspace did not fail."


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    view = oom.of(snapshot)
    if view is not None and view.component == "moe" and view.stage in ("run", "profile", "graphs", None):
        confidence = 0.88 if view.stage != "graphs" else 0.6
        return _finding(
            snapshot, f"The experts wanted {size(view.asked)} of scratch memory.", view.oom.text, confidence
        )
    told = oom.bare(snapshot)
    if told is not None and told[2] == "moe" and told[1] in ("run", "profile", None):
        return _finding(snapshot, "Memory ran out inside the experts.", told[0].text, 0.75)
    locked = evidence.said(snapshot, "workspace_locked")
    if locked is not None and re.search(r"modular_kernel|moe|experts", locked.text, re.IGNORECASE):
        return _finding(snapshot, "The experts need a larger workspace than warm-up reserved.", locked.text, 0.93)
    event = evidence.said(snapshot, "moe_workspace")
    if event is None or evidence.said(snapshot, "workspace_locked") is not None:
        return None
    return _finding(snapshot, "The experts' workspace could not be had.", event.text, 0.8)


def _finding(snapshot: Snapshot, seen: str, line: str, confidence: float) -> Finding:
    given = evidence.utilization(snapshot) or 0.92
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="critical",
        confidence=confidence,
        summary=seen,
        evidence=(line,),
        fixes=tuple(
            filter(
                None,
                (
                    evidence.smaller_step(snapshot),
                    "VLLM_FUSED_MOE_CHUNK_SIZE=8192   # in its environment, where the version has it: smaller pieces",
                    f"--gpu-memory-utilization {max(0.1, given - 0.04):.2f}   # or leave it more room",
                ),
            )
        ),
        meaning="Every token of a step is copied once per chosen expert; uneven routing makes one rank's share larger.",
        harmless="Never: the step fails.",
    )
