"""vLLM was given so much of the card that nothing is left for what it did not plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.rules import oom
from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF009"
CAUSE = "utilization_too_high"
HEALTHY = "Nothing is known to have run out of memory while serving."


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    start = evidence.said(snapshot, "startup_free")
    if start is not None:
        free, total = start.numbers.get("free", 0.0), start.numbers.get("total", 0.0)
        wanted = start.numbers.get("wanted", total * (evidence.utilization(snapshot) or 0.92))
        missing = max(0.0, wanted - free)
        good = max(0.05, int((free - 2**28) / total * 100) / 100) if total else 0.9
        seen = f"{size(free)} of {size(total)} were free at the start and {size(wanted)} were wanted: {size(missing)} too little."
        return _finding(
            snapshot, seen, start.text, 0.8, f"--gpu-memory-utilization {good}   # what was free, less 256 MiB"
        )
    view = oom.of(snapshot)
    if view is None:
        told = oom.bare(snapshot)
        loaded = evidence.fact(snapshot, "model_loaded")
        if told is not None and loaded is not None and told[1] is None and not told[0].ready:
            fix = (
                "--gpu-memory-utilization 0.85   # LMDeploy: --cache-max-entry-count 0.2: a smaller share for the cache"
            )
            return _finding(
                snapshot, "The weights are in, and the rest that was asked for did not fit.", told[0].text, 0.62, fix
            )
        if told is None or (told[1] not in ("run", "kv", "sampler") and evidence.utilization(snapshot) is None):
            return None
        good = max(0.1, (evidence.utilization(snapshot) or 0.92) - 0.05)
        fix = f"--gpu-memory-utilization {good:.2f}   # room for what is not planned"
        return _finding(snapshot, "Memory ran out, and the message does not say by how much.", told[0].text, 0.5, fix)
    asked_for = evidence.utilization(snapshot)
    if view.free is None and view.stage is None and view.component is None and asked_for is None:
        return None  # a failed allocation without a single other number says nothing
    high = asked_for is not None and asked_for >= thresholds["utilization"]
    full = (view.share(view.free) or 0.0) < thresholds["free"]
    if view.stage == "run":
        confidence = (0.78 if high else 0.62) if full else 0.5
    elif view.stage in (None, "profile", "kv"):
        confidence = 0.64 if high else 0.5
    else:
        confidence = 0.45 if high else 0.3
    if asked_for is not None and asked_for >= thresholds["extreme"] and full:
        confidence = max(confidence, 0.85)
    if view.asked > thresholds["large_request"] and not high:
        confidence -= 0.1
    good = max(
        0.1, round((asked_for or 0.92) - max(0.03, (view.asked - (view.free or 0)) / (view.total or 2**36) + 0.01), 2)
    )
    seen = f"{size(view.asked)} could not be had" + (
        f" with {size(view.free)} of {size(view.total)} free" if view.free is not None and view.total else ""
    )
    return _finding(
        snapshot,
        seen + ".",
        view.oom.text,
        confidence,
        f"--gpu-memory-utilization {good}   # leaves room for what was asked for",
    )


def _finding(snapshot: Snapshot, seen: str, line: str, confidence: float, fix: str) -> Finding:
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="critical",
        confidence=confidence,
        summary=seen,
        evidence=(line,),
        fixes=tuple(filter(None, (fix, evidence.smaller_step(snapshot)))),
        meaning="The share is taken for weights, KV cache and the measured peak; contexts, NCCL and rare peaks come on top.",
        harmless="Never at run time: the engine dies with all its requests.",
    )
