"""CUDA graphs take memory that was not set aside for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from unfrag.doctor.rules import oom
from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF011"
CAUSE = "cudagraph_memory"
HEALTHY = "Capturing CUDA graphs did not fail."


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    view = oom.of(snapshot)
    failed = evidence.said(snapshot, "graph_capture_failed")
    hint = evidence.said(snapshot, "graph_estimate_hint")
    if view is not None and (view.stage == "graphs" or hint is not None):
        return _finding(
            snapshot, f"{size(view.asked)} could not be had while CUDA graphs were captured.", view.oom.text, 0.9
        )
    if failed is not None and not re.search(r"invalid argument|illegal|not supported", failed.text):
        return _finding(snapshot, "Capturing CUDA graphs failed for want of memory.", failed.text, 0.88)
    told = oom.bare(snapshot)
    if told is not None and told[1] == "graphs":
        return _finding(snapshot, "Memory ran out while CUDA graphs were captured.", told[0].text, 0.88)
    bare = evidence.said(snapshot, "bare_oom")
    capturing = evidence.fact(snapshot, "graphs_capturing")
    if bare is not None and capturing is not None and not bare.ready and bare.life == capturing.life:
        return _finding(snapshot, "The start ran out of memory while it captured CUDA graphs.", bare.text, 0.75)
    if (
        view is not None
        and view.oom.private_pools
        and view.share(view.oom.private_pools)
        and view.oom.private_pools > thresholds["bytes"]
    ):
        share = view.share(view.oom.private_pools) or 0.0
        if share > thresholds["ratio"]:
            return _finding(
                snapshot,
                f"{size(view.oom.private_pools)} lie in the private pools of CUDA graphs.",
                view.oom.text,
                0.66,
            )
    return _underestimated(snapshot, thresholds)


def _underestimated(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    actual = evidence.fact(snapshot, "graphs_actual", "graphs_took")
    if actual is None:
        return None
    took, planned = actual.numbers.get("graphs", 0.0), actual.numbers.get("estimated")
    if planned is None and (estimate := evidence.fact(snapshot, "graphs_estimated")) is not None:
        planned = estimate.numbers.get("graphs")
    tight = oom.of(snapshot) is not None or evidence.said(snapshot, "kv_context", "kv_none", "bare_oom") is not None
    if planned is not None and took - planned > thresholds["bytes"] and took > planned * 1.5 and tight:
        return _finding(snapshot, f"CUDA graphs took {size(took)}, planned were {size(planned)}.", actual.text, 0.72)
    if took > thresholds["huge_bytes"]:
        return _finding(snapshot, f"CUDA graphs took {size(took)}.", actual.text, 0.7)
    if took > thresholds["large_bytes"] and tight:
        return _finding(snapshot, f"CUDA graphs took {size(took)}.", actual.text, 0.66)
    return None


def _finding(snapshot: Snapshot, seen: str, line: str, confidence: float) -> Finding:
    given = evidence.utilization(snapshot) or 0.92
    seats = int(evidence.number(snapshot, "--max-num-seqs") or 64)
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="critical",
        confidence=confidence,
        summary=seen,
        evidence=(line,),
        fixes=(
            f"--max-cudagraph-capture-size {max(1, min(64, seats))}   # fewer sizes, less memory; larger batches run without a graph",
            f"--gpu-memory-utilization {max(0.1, given - 0.04):.2f}   # or set more aside",
            "--enforce-eager   # no graphs at all: slower decoding, good to prove the cause",
        ),
        meaning="Graphs are captured after the KV cache was sized; what they need comes out of the rest.",
        harmless="When the start succeeds and nothing fails later.",
    )
