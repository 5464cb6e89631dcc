"""The start fails while the sampler is warmed with as many dummy requests as may run at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.rules import oom
from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF010"
CAUSE = "sampler_warmup_oom"
HEALTHY = "Warming up the sampler did not fail."


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    event = evidence.said(snapshot, "sampler_warmup")
    view = oom.of(snapshot)
    if event is None and (view is None or view.stage != "sampler"):
        return None
    requests = int(event.numbers.get("requests", 0)) if event else 0
    requests = requests or int(evidence.number(snapshot, "--max-num-seqs") or 1024)
    given = evidence.utilization(snapshot) or 0.92
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="critical",
        confidence=0.97,
        summary=f"Out of memory while warming up the sampler with {requests} dummy requests.",
        evidence=(event.text if event else view.oom.text if view else "",),
        fixes=(
            f"--max-num-seqs {max(1, requests // 4)}   # the logits of all at once are requests x vocabulary x 4 bytes, several times",
            f"--gpu-memory-utilization {max(0.1, given - 0.03):.2f}   # or leave it more room",
        ),
        meaning="The warm-up runs after the KV cache has taken its share, so its peak has to fit beside it.",
        harmless="Never: the server does not start.",
    )
