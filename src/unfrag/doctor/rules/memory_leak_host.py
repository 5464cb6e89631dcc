"""The server's host memory grows and does not come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.doctor.weigh.growth import grows
from unfrag.facts.finding import Finding
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Series, Snapshot

ID = "UF016"
CAUSE = "memory_leak_host"
HEALTHY = "The host memory does not grow."


def can_judge(snapshot: Snapshot) -> bool:
    return bool(_series(snapshot))


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    killed = evidence.said(snapshot, "oom_killer", "oom_killed") is not None
    for series in _series(snapshot):
        if grows(series.values, thresholds["ratio"], thresholds["bytes"]):
            first, last = series.values[0], series.values[-1]
            pace = f", {size((last - first) / series.hours)} an hour" if series.hours else ""
            return Finding(
                id=ID,
                cause=CAUSE,
                severity="critical" if killed else "warning",
                confidence=0.965 if len(series.values) >= 5 else 0.86,  # a kill by the kernel is then its end
                summary=f"Host memory grew from {size(first)} to {size(last)}{pace}.",
                evidence=(series.text,),
                fixes=(
                    "py-spy dump --pid PID; memray attach PID   # which process, and what it keeps",
                    "--mm-processor-cache-gb 0   # if images or video are served: that cache is host memory",
                    "restart at a quiet hour until the version with the fix runs; the kernel will not choose one",
                ),
                meaning="It ends with the kernel killing the largest process, at a time of its choosing.",
                harmless="While caches fill (tokenizer, multimodal inputs): that levels off.",
            )
    return None


def _series(snapshot: Snapshot) -> list[Series]:
    return [s for s in snapshot.series if s.what == "host"] if isinstance(snapshot.series, tuple) else []
