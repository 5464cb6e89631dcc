"""The memory of a card grows and does not come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.doctor.weigh.growth import grows
from unfrag.facts.finding import Finding
from unfrag.facts.snapshot import Gpus, Series
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF015"
CAUSE = "memory_leak_gpu"
HEALTHY = "The cards' memory does not grow."


def can_judge(snapshot: Snapshot) -> bool:
    return bool(_series(snapshot)) or evidence.said(snapshot, "pool_leak", "slept") is not None


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    for values, line in _series(snapshot):
        if grows(values, thresholds["ratio"], thresholds["bytes"]):
            seen = f"Memory of the card grew from {size(values[0])} to {size(values[-1])} in {len(values)} looks."
            return _finding(seen, line, 0.95 if len(values) >= 5 else 0.85)
    slept = [e.numbers["used"] for log in evidence.logs(snapshot) for e in log.all("slept") if "used" in e.numbers]
    if len(slept) >= 3 and grows(tuple(slept), thresholds["ratio"], thresholds["bytes"]):
        seen = f"After each sleep more stays in use: {size(slept[0])}, later {size(slept[-1])}."
        return _finding(seen, f"{len(slept)} sleeps", 0.9)
    leak = evidence.said(snapshot, "pool_leak")
    if leak is not None:
        return _finding(
            "The engine lost count of its KV pool: slots that no request holds are not free.", leak.text, 0.7
        )
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


def _finding(seen: str, line: str, confidence: float) -> Finding:
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="warning",
        confidence=confidence,
        summary=seen,
        evidence=(line,),
        fixes=(
            "unfrag flush --only allocator   # if that brings it back, it was the allocator's cache and no leak",
            "torch.cuda.memory._record_memory_history() and later _dump_snapshot() inside the worker   # who allocates; read it with --allocator-snapshot",
            "restart at a quiet hour until the version with the fix runs",
        ),
        meaning="vLLM takes its memory at the start; afterwards only rare peaks may add to it, and those stay level.",
        harmless="In the first minutes: graphs, kernels and first peaks are allocated lazily.",
    )
