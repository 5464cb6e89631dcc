"""vLLM was given so much of the card that nothing is left for what it did not plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence, oom
from unfrag.doctor.weigh.judged import judged, weaker
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.finding import Certainty
    from unfrag.facts.snapshot import Snapshot

CAUSE = "utilization_too_high"


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    start = evidence.said(snapshot, "startup_free")
    if start is not None:
        free, total = start.numbers.get("free", 0.0), start.numbers.get("total", 0.0)
        wanted = start.numbers.get("wanted", total * (evidence.utilization(snapshot) or 0.92))
        missing = max(0.0, wanted - free)
        good = max(0.05, int((free - 2**28) / total * 100) / 100) if total else 0.9
        sizes = {"free": size(free), "total": size(total), "wanted": size(wanted), "missing": size(missing)}
        return _judged(snapshot, "start", start.text, "strong", "was_free", utilization=good, **sizes)
    view = oom.of(snapshot)
    if view is None:
        told = oom.bare(snapshot)
        loaded = evidence.fact(snapshot, "model_loaded")
        if told is not None and loaded is not None and told[1] is None and not told[0].ready:
            return _judged(snapshot, "rest", told[0].text, "likely", "cache")
        if told is None or (told[1] not in ("run", "kv", "sampler") and evidence.utilization(snapshot) is None):
            return None
        good = max(0.1, (evidence.utilization(snapshot) or 0.92) - 0.05)
        return _judged(snapshot, "ran_out", told[0].text, "possible", "room", utilization=f"{good:.2f}")
    asked_for = evidence.utilization(snapshot)
    if view.free is None and view.stage is None and view.component is None and asked_for is None:
        return None  # a failed allocation without a single other number says nothing
    high = asked_for is not None and asked_for >= thresholds["utilization"]
    full = (view.share(view.free) or 0.0) < thresholds["free"]
    certainty = _certainty(view, full, high)
    if asked_for is not None and asked_for >= thresholds["extreme"] and full:
        certainty = "strong"
    if view.asked > thresholds["large_request"] and not high:
        certainty = weaker(certainty, 1)
    good = max(
        0.1, round((asked_for or 0.92) - max(0.03, (view.asked - (view.free or 0)) / (view.total or 2**36) + 0.01), 2)
    )
    known: dict[str, Any] = {"utilization": good, "asked": size(view.asked)}
    if view.free is None or not view.total:
        return _judged(snapshot, "failed", view.oom.text, certainty, "leave", **known)
    known |= {"free": size(view.free), "total": size(view.total)}
    return _judged(snapshot, "failed_free", view.oom.text, certainty, "leave", **known)


def _certainty(view: oom.View, full: bool, high: bool) -> Certainty:
    """A full card while the server runs says most, a high share a little less."""
    if view.stage == "run" and full:
        return "strong" if high else "likely"
    return "likely" if high and view.stage in (None, "profile", "kv") else "possible"


def _judged(snapshot: Snapshot, seen: str, line: str, certainty: Certainty, fix: str, **values: Any) -> Judged:
    step, tokens = evidence.smaller_step(snapshot)
    return judged(seen, line, certainty, fixes=(fix, *step), **values, **tokens)
