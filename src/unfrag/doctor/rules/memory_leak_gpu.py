"""The memory of a card grows and does not come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.doctor.weigh.growth import grows
from unfrag.doctor.weigh.judged import judged
from unfrag.facts.snapshot import Gpus, Series
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.snapshot import Snapshot

CAUSE = "memory_leak_gpu"


def can_judge(snapshot: Snapshot) -> bool:
    return bool(_series(snapshot)) or evidence.said(snapshot, "pool_leak", "slept") is not None


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    for values, line in _series(snapshot):
        if grows(values, thresholds["ratio"], thresholds["bytes"]):
            ends: dict[str, Any] = {"first": size(values[0]), "last": size(values[-1])}
            return judged("grew", line, "proven" if len(values) >= 5 else "strong", polls=len(values), **ends)
    slept = [e.numbers["used"] for log in evidence.logs(snapshot) for e in log.all("slept") if "used" in e.numbers]
    if len(slept) >= 3 and grows(tuple(slept), thresholds["ratio"], thresholds["bytes"]):
        return judged("slept", f"{len(slept)} sleeps", "proven", first=size(slept[0]), last=size(slept[-1]))
    leak = evidence.said(snapshot, "pool_leak")
    if leak is not None:
        return judged("slots", leak.text, "likely")
    return None


def _series(snapshot: Snapshot) -> list[tuple[tuple[float, ...], str]]:
    found: list[tuple[tuple[float, ...], str]] = []
    if isinstance(snapshot.series, tuple):
        found += [(s.values, s.text) for s in snapshot.series if isinstance(s, Series) and s.what == "gpu"]
    if isinstance(snapshot.gpus, Gpus):
        for gpu in snapshot.gpus.gpus:
            if len(gpu.history) >= 2 and gpu.used_bytes is not None:
                values = (*gpu.history, gpu.used_bytes)
                found.append((values, f"GPU {gpu.index}: {size(values[0])} … {size(values[-1])}"))
    return found
