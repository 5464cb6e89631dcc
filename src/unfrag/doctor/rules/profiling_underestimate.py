"""A peak at run time that start-up profiling did not see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.rules import oom
from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF012"
CAUSE = "profiling_underestimate"
HEALTHY = "No step is known to have needed more than start-up profiling saw."
_CURES = {
    "vision": "--limit-mm-per-prompt '{\"image\": 1}'   # and a smaller max_pixels in --mm-processor-kwargs",
    "logits": "--max-logprobs 5   # and no prompt_logprobs: they need logits of every prompt token",
    "indexer": "--max-num-batched-tokens 2048   # the indexer's logits grow with context x chunk; data-parallel attention divides them",
    "lora": "--max-loras 1 --max-lora-rank 16   # what is profiled must be what is served",
    "workspace": "--max-num-batched-tokens 2048   # the workspace grows with the chunk",
}


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    locked = evidence.said(snapshot, "workspace_locked")
    if locked is not None:
        return _finding(
            "A step needs a workspace that warm-up did not reserve.", locked.text, 0.9, "workspace", snapshot
        )
    view = oom.of(snapshot)
    told = oom.bare(snapshot)
    if told is not None and told[1] in ("run", None) and told[2] in ("vision", "logits", "indexer"):
        return _finding("A running server wanted more than was left.", told[0].text, 0.7, told[2], snapshot)
    if view is None or view.stage not in ("run", "profile", None):
        return None
    if view.stage is None and view.component not in ("indexer", "vision", "logits"):
        return None
    if view.stage == "profile" and view.component != "vision":
        return None
    large = view.asked >= max(thresholds["bytes"], (view.total or 0) * thresholds["ratio"])
    if view.component in _CURES:
        confidence = 0.84 if large else 0.74
    elif large:
        confidence = 0.7
    else:
        return None
    where = f" in {view.oom.frames[-1].strip(':')}" if view.oom.frames else ""
    free = f" with {size(view.free)} free" if view.free is not None else ""
    return _finding(
        f"A running server wanted {size(view.asked)} at once{where}{free}.",
        view.oom.text,
        confidence,
        view.component,
        snapshot,
    )


def _finding(seen: str, line: str, confidence: float, component: str | None, snapshot: Snapshot) -> Finding:
    given = evidence.utilization(snapshot) or 0.92
    cure = _CURES.get(component or "") or evidence.smaller_step(snapshot)
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="critical",
        confidence=confidence,
        summary=seen,
        evidence=(line,),
        fixes=tuple(
            filter(None, (cure, f"--gpu-memory-utilization {max(0.1, given - 0.05):.2f}   # room for the peak"))
        ),
        meaning="Profiling runs a dummy batch; other inputs (long contexts, images, logprobs) can need more.",
        harmless="Never: the engine dies with all its requests.",
    )
