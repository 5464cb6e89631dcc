"""The experts' scratch memory does not fit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence, oom
from unfrag.doctor.weigh.judged import judged
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.finding import Certainty
    from unfrag.facts.snapshot import Snapshot

CAUSE = "moe_workspace"


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    view = oom.of(snapshot)
    if view is not None and view.component == "moe" and view.stage in ("run", "profile", "graphs", None):
        certainty: Certainty = "proven" if view.stage != "graphs" else "likely"
        return _judged(snapshot, "asked", view.oom.text, certainty, asked=size(view.asked))
    told = oom.bare(snapshot)
    if told is not None and told[2] == "moe" and told[1] in ("run", "profile", None):
        return _judged(snapshot, "inside", told[0].text, "strong")
    locked = evidence.said(snapshot, "workspace_locked")
    if locked is not None and re.search(r"modular_kernel|moe|experts", locked.text, re.IGNORECASE):
        return _judged(snapshot, "locked", locked.text, "proven")
    event = evidence.said(snapshot, "moe_workspace")
    if event is None or evidence.said(snapshot, "workspace_locked") is not None:
        return None
    return _judged(snapshot, "workspace", event.text, "strong")


def _judged(snapshot: Snapshot, seen: str, line: str, certainty: Certainty, **values: Any) -> Judged:
    given = evidence.utilization(snapshot) or 0.92
    step, tokens = evidence.smaller_step(snapshot)
    utilization = f"{max(0.1, given - 0.04):.2f}"
    fixes = (*step, "chunk", "utilization")
    return judged(seen, line, certainty, fixes=fixes, utilization=utilization, **values, **tokens)
