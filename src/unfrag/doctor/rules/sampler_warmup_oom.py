"""The start fails while the sampler is warmed with as many dummy requests as may run at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence, oom
from unfrag.doctor.weigh.judged import judged

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.snapshot import Snapshot

CAUSE = "sampler_warmup_oom"


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    event = evidence.said(snapshot, "sampler_warmup")
    view = oom.of(snapshot)
    if event is None and (view is None or view.stage != "sampler"):
        return None
    requests = int(event.numbers.get("requests", 0)) if event else 0
    requests = requests or int(evidence.number(snapshot, "--max-num-seqs") or 1024)
    given = evidence.utilization(snapshot) or 0.92
    return judged(
        "warming",
        event.text if event else view.oom.text if view else "",
        "proven",
        requests=requests,
        most=max(1, requests // 4),
        utilization=f"{max(0.1, given - 0.03):.2f}",
    )
