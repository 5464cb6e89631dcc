"""A model of unlike layers (sliding window, Mamba, attention) leaves parts of its KV pages empty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.doctor.weigh.judged import judged
from unfrag.facts.snapshot import Metrics

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.snapshot import Snapshot

CAUSE = "hybrid_waste"


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    for kind in ("hybrid_padding", "mamba_padding"):
        event = evidence.fact(snapshot, kind)
        percent = event.numbers.get("percent", 0.0) if event else 0.0
        if event is not None and percent >= thresholds["percent"]:
            return judged("padding", event.text, "proven", percent=percent)
    disabled = evidence.fact(snapshot, "hybrid_disabled")
    if disabled is not None:
        return judged("window", disabled.text, "strong")
    block = evidence.fact(snapshot, "mamba_block")
    if block is not None and block.numbers.get("tokens", 0) >= thresholds["block_tokens"]:
        rates = [load.hit_rate for load in evidence.loads(snapshot) if load.hit_rate is not None]
        useless = bool(rates) and max(rates) < thresholds["hit_rate"]
        metrics = snapshot.metrics
        if (
            isinstance(metrics, Metrics)
            and metrics.request_tokens
            and (metrics.kv_cache_usage or 0) > thresholds["usage"]
        ):
            useless = useless or metrics.request_tokens < block.numbers["tokens"] * thresholds["part_of_block"]
        if not useless:
            return None
        return judged("block", block.text, "proven", tokens=block.numbers["tokens"])
    return None
