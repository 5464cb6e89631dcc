"""The wrong program, or a version that cannot serve this model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence, oom
from unfrag.doctor.weigh.judged import judged

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.finding import Certainty
    from unfrag.facts.snapshot import Snapshot

CAUSE = "wrong_entrypoint_or_version"
_KINDS: tuple[tuple[str, Certainty], ...] = (
    ("architecture_unknown", "proven"),
    ("no_module", "proven"),
    ("version_conflict", "strong"),
    ("model_code_mismatch", "strong"),
)
looked = evidence.serves


def can_judge(snapshot: Snapshot) -> bool:
    return evidence.has_text(snapshot) or bool(evidence.command(snapshot))


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    for kind, certainty in _KINDS:
        event = evidence.said(snapshot, kind)
        if event is not None:
            return judged("version", event.text, certainty, message=event.text[:160])
    refused = evidence.said(snapshot, "unknown_argument")
    if refused is not None and not refused.words.get("flags", "-").strip().startswith("-"):
        return judged("words", refused.text, "proven")
    route = evidence.said(snapshot, "route_missing")
    demo = "vllm.entrypoints.api_server" in evidence.command(snapshot)
    if demo:
        line = route.text if route else "vllm.entrypoints.api_server"
        return judged("demo", line, "proven" if route else "likely")
    if route is not None and evidence.count(snapshot, "route_missing") >= thresholds["routes"] and "/v1/" in route.text:
        return judged("routes", route.text, "likely")
    fallback = evidence.flag(snapshot, "--model-impl") == "transformers" or evidence.fact(
        snapshot, "transformers_fallback"
    )
    view = oom.of(snapshot)
    if fallback and view is not None and (view.share(view.others) or 0) < thresholds["others"]:
        return judged("fallback", view.oom.text, "strong")
    return None
