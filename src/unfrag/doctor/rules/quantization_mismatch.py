"""The weights are not in the form that was asked for, or are kept larger than that form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence, oom
from unfrag.doctor.weigh.judged import judged
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.snapshot import Snapshot

CAUSE = "quantization_mismatch"


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    event = evidence.said(snapshot, "quantization_mismatch")
    if event is not None:
        return judged("other", event.text, "proven", message=event.text[:160])
    converted = _converted_at_load(snapshot, thresholds)
    if converted is not None:
        return converted
    shape = evidence.said(snapshot, "weight_shape")
    quantised = evidence.bytes_per_parameter(snapshot) < 2
    if shape is not None and quantised:
        return judged("shape", shape.text, "likely")
    loaded = evidence.fact(snapshot, "model_loaded", "profiled")
    parameters = evidence.parameters(snapshot)
    if loaded is None or parameters is None or not quantised:
        return None
    weights = loaded.numbers.get("weights", 0.0)
    expected = parameters * evidence.bytes_per_parameter(snapshot) / evidence.ranks(snapshot)
    if weights > expected * thresholds["ratio"] and weights - expected > thresholds["bytes"]:
        return judged("larger", loaded.text, "strong", weights=size(weights), expected=size(expected))
    return None


def _converted_at_load(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    """A checkpoint in full precision that is quantised while it loads: it would fit afterwards, and not before."""
    view, parameters = oom.of(snapshot), evidence.parameters(snapshot)
    asked = evidence.flag(snapshot, "--quantization")
    if view is None or view.stage != "weights" or not view.total or not parameters or not asked:
        return None
    if evidence.is_quantised_by_name(snapshot):
        return None
    each = parameters / evidence.ranks(snapshot)
    small, full = each * evidence.bytes_per_parameter(snapshot), each * 2
    if not small < view.total * thresholds["fits"] < full:
        return None
    return judged("converted", view.oom.text, "proven", full=size(full), form=asked, small=size(small))
