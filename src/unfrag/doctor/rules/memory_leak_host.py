"""The server's host memory grows and does not come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.doctor.weigh.growth import grows
from unfrag.doctor.weigh.judged import judged
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.finding import Certainty, Severity
    from unfrag.facts.snapshot import Series, Snapshot

CAUSE = "memory_leak_host"


def can_judge(snapshot: Snapshot) -> bool:
    return bool(_series(snapshot))


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    killed = evidence.said(snapshot, "oom_killer", "oom_killed") is not None
    for series in _series(snapshot):
        if grows(series.values, thresholds["ratio"], thresholds["bytes"]):
            first, last = series.values[0], series.values[-1]
            certainty: Certainty = "proven" if len(series.values) >= 5 else "strong"
            # A kill by the kernel is then its end.
            severity: Severity | None = "critical" if killed else None
            values: dict[str, Any] = {"first": size(first), "last": size(last)}
            if not series.hours:
                return judged("grew", series.text, certainty, severity=severity, **values)
            values["hourly"] = size((last - first) / series.hours)
            return judged("grew_hourly", series.text, certainty, severity=severity, **values)
    return None


def _series(snapshot: Snapshot) -> list[Series]:
    return [s for s in snapshot.series if s.what == "host"] if isinstance(snapshot.series, tuple) else []
