"""The wrong program, or a version that cannot serve this model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.rules import oom
from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF021"
CAUSE = "wrong_entrypoint_or_version"
HEALTHY = "Nothing says that program, version and model do not go together."
looked = evidence.serves


def can_judge(snapshot: Snapshot) -> bool:
    return evidence.has_text(snapshot) or bool(evidence.command(snapshot))


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    for kinds, confidence in (
        (("architecture_unknown",), 0.92),
        (("no_module",), 0.88),
        (("version_conflict",), 0.84),
        (("model_code_mismatch",), 0.75),
    ):
        event = evidence.said(snapshot, *kinds)
        if event is not None:
            return _finding(f"This version cannot do it: {event.text[:160]}", event.text, confidence)
    refused = evidence.said(snapshot, "unknown_argument")
    if refused is not None and not refused.words.get("flags", "-").strip().startswith("-"):
        seen = "The program was given words that are no flags: the image's entry point is already the server."
        return _finding(seen, refused.text, 0.96)
    route = evidence.said(snapshot, "route_missing")
    demo = "vllm.entrypoints.api_server" in evidence.command(snapshot)
    if demo:
        line = route.text if route else "vllm.entrypoints.api_server"
        seen = "vllm.entrypoints.api_server is a demonstration server without the OpenAI routes."
        return _finding(seen, line, 0.9 if route else 0.7)
    if route is not None and evidence.count(snapshot, "route_missing") >= thresholds["routes"] and "/v1/" in route.text:
        return _finding("The server does not have the routes that its clients ask for.", route.text, 0.7)
    fallback = evidence.flag(snapshot, "--model-impl") == "transformers" or evidence.fact(
        snapshot, "transformers_fallback"
    )
    view = oom.of(snapshot)
    if fallback and view is not None and (view.share(view.others) or 0) < thresholds["others"]:
        seen = "The model runs through the Transformers fallback, which keeps more memory than vLLM's own code for it."
        return _finding(seen, view.oom.text, 0.87)
    return None


def _finding(seen: str, line: str, confidence: float) -> Finding:
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="critical",
        confidence=confidence,
        summary=seen,
        evidence=(line,),
        fixes=(
            "pip show vllm transformers torch | grep -E '^(Name|Version)'   # what runs; upgrade to a version that lists the model",
            "vllm serve MODEL …   # or python -m vllm.entrypoints.openai.api_server: the OpenAI server",
        ),
        meaning="No memory flag helps; the same model on the same card works with the right version.",
        harmless="Never: the server does not start, or answers nothing.",
    )
