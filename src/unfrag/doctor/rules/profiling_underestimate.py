"""A peak at run time that start-up profiling did not see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence, oom
from unfrag.doctor.weigh.judged import judged
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.finding import Certainty
    from unfrag.facts.snapshot import Snapshot

CAUSE = "profiling_underestimate"
_CURES = ("vision", "logits", "indexer", "lora", "workspace")


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    locked = evidence.said(snapshot, "workspace_locked")
    if locked is not None:
        return _judged("locked", locked.text, "proven", "workspace", snapshot)
    view = oom.of(snapshot)
    told = oom.bare(snapshot)
    if told is not None and told[1] in ("run", None) and told[2] in ("vision", "logits", "indexer"):
        return _judged("more", told[0].text, "likely", told[2], snapshot)
    if view is None or view.stage not in ("run", "profile", None):
        return None
    if view.stage is None and view.component not in ("indexer", "vision", "logits"):
        return None
    if view.stage == "profile" and view.component != "vision":
        return None
    large = view.asked >= max(thresholds["bytes"], (view.total or 0) * thresholds["ratio"])
    if view.component not in _CURES and not large:
        return None
    certainty: Certainty = "strong" if view.component in _CURES and large else "likely"
    values: dict[str, Any] = {"asked": size(view.asked)}
    if view.oom.frames:
        values["where"] = view.oom.frames[-1].strip(":")
    if view.free is not None:
        values["free"] = size(view.free)
    seen = ("wanted", *(name for name in ("where", "free") if name in values), "end")
    return _judged(seen, view.oom.text, certainty, view.component, snapshot, **values)


def _judged(
    seen: str | tuple[str, ...],
    line: str,
    certainty: Certainty,
    component: str | None,
    snapshot: Snapshot,
    **values: Any,
) -> Judged:
    given = evidence.utilization(snapshot) or 0.92
    cure, tokens = ((component,), {}) if component in _CURES else evidence.smaller_step(snapshot)
    utilization = f"{max(0.1, given - 0.05):.2f}"
    return judged(seen, line, certainty, fixes=(*cure, "utilization"), utilization=utilization, **values, **tokens)
