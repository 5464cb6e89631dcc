"""CUDA graphs take memory that was not set aside for them."""

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

CAUSE = "cudagraph_memory"


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    view = oom.of(snapshot)
    failed = evidence.said(snapshot, "graph_capture_failed")
    hint = evidence.said(snapshot, "graph_estimate_hint")
    if view is not None and (view.stage == "graphs" or hint is not None):
        return _judged(snapshot, "asked", view.oom.text, "proven", asked=size(view.asked))
    if failed is not None and not re.search(r"invalid argument|illegal|not supported", failed.text):
        return _judged(snapshot, "capture_failed", failed.text, "proven")
    told = oom.bare(snapshot)
    if told is not None and told[1] == "graphs":
        return _judged(snapshot, "captured", told[0].text, "proven")
    bare = evidence.said(snapshot, "bare_oom")
    capturing = evidence.fact(snapshot, "graphs_capturing")
    if bare is not None and capturing is not None and not bare.ready and bare.life == capturing.life:
        return _judged(snapshot, "start", bare.text, "strong")
    pools = view.oom.private_pools if view is not None else None
    if view is not None and pools and pools > thresholds["bytes"] and (view.share(pools) or 0.0) > thresholds["ratio"]:
        return _judged(snapshot, "pools", view.oom.text, "likely", pools=size(pools))
    return _underestimated(snapshot, thresholds)


def _underestimated(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    actual = evidence.fact(snapshot, "graphs_actual", "graphs_took")
    if actual is None:
        return None
    took, planned = actual.numbers.get("graphs", 0.0), actual.numbers.get("estimated")
    if planned is None and (estimate := evidence.fact(snapshot, "graphs_estimated")) is not None:
        planned = estimate.numbers.get("graphs")
    tight = oom.of(snapshot) is not None or evidence.said(snapshot, "kv_context", "kv_none", "bare_oom") is not None
    if planned is not None and took - planned > thresholds["bytes"] and took > planned * 1.5 and tight:
        return _judged(snapshot, "more", actual.text, "likely", took=size(took), planned=size(planned))
    if took > thresholds["huge_bytes"]:
        return _judged(snapshot, "took", actual.text, "likely", took=size(took))
    if took > thresholds["large_bytes"] and tight:
        return _judged(snapshot, "took", actual.text, "likely", took=size(took))
    return None


def _judged(snapshot: Snapshot, seen: str, line: str, certainty: Certainty, **values: Any) -> Judged:
    given = evidence.utilization(snapshot) or 0.92
    running = int(evidence.number(snapshot, "--max-num-seqs") or 64)
    return judged(
        seen, line, certainty, batch=max(1, min(64, running)), utilization=f"{max(0.1, given - 0.04):.2f}", **values
    )
