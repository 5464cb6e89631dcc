"""The weights are not in the form that was asked for, or are kept larger than that form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.rules import oom
from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF023"
CAUSE = "quantization_mismatch"
HEALTHY = "The weights are not known to have another form than was asked for."


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    event = evidence.said(snapshot, "quantization_mismatch")
    if event is not None:
        return _finding(f"The checkpoint's quantisation is another: {event.text[:160]}", event.text, 0.9)
    converted = _converted_at_load(snapshot, thresholds)
    if converted is not None:
        return converted
    shape = evidence.said(snapshot, "weight_shape")
    quantised = evidence.bytes_per_parameter(snapshot) < 2
    if shape is not None and quantised:
        return _finding("A weight has another shape than its quantisation says.", shape.text, 0.7)
    loaded = evidence.fact(snapshot, "model_loaded", "profiled")
    parameters = evidence.parameters(snapshot)
    if loaded is None or parameters is None or not quantised:
        return None
    weights = loaded.numbers.get("weights", 0.0)
    expected = parameters * evidence.bytes_per_parameter(snapshot) / evidence.ranks(snapshot)
    if weights > expected * thresholds["ratio"] and weights - expected > thresholds["bytes"]:
        seen = f"The weights took {size(weights)} on a rank; in the form that was asked for they are about {size(expected)}."
        return _finding(seen, loaded.text, 0.84)
    return None


def _converted_at_load(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
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
    seen = f"The checkpoint is about {size(full)} for each card before it is quantised to {asked}, {size(small)} after."
    return _finding(seen, view.oom.text, 0.89)


def _finding(seen: str, line: str, confidence: float) -> Finding:
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="critical",
        confidence=confidence,
        summary=seen,
        evidence=(line,),
        fixes=(
            "take --quantization out: vLLM reads the form from the checkpoint's config.json (quantization_config)",
            "serve a checkpoint that is stored in the wanted form; converting at load keeps both for a while",
        ),
        meaning="Weights that are unpacked or kept twice take the memory that the KV cache was meant to have.",
        harmless="When the memory suffices all the same.",
    )
