"""A model of unlike layers (sliding window, Mamba, attention) leaves parts of its KV pages empty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding
from unfrag.facts.snapshot import Metrics

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF025"
CAUSE = "hybrid_waste"
HEALTHY = "No KV page is known to be padded."


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    for kind in ("hybrid_padding", "mamba_padding"):
        event = evidence.fact(snapshot, kind)
        percent = event.numbers.get("percent", 0.0) if event else 0.0
        if event is not None and percent >= thresholds["percent"]:
            return _finding(f"Up to {percent:.0f}% of the KV memory is padding.", event.text, 0.9)
    disabled = evidence.fact(snapshot, "hybrid_disabled")
    if disabled is not None:
        return _finding("Sliding-window layers keep the KV of the whole context.", disabled.text, 0.84)
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
        seen = f"A block holds {block.numbers['tokens']:.0f} tokens: short prompts fill a part of it, and prefixes shorter than it are never found."
        return _finding(seen, block.text, 0.88)
    return None


def _finding(seen: str, line: str, confidence: float) -> Finding:
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="warning",
        confidence=confidence,
        summary=seen,
        evidence=(line,),
        fixes=(
            "take --disable-hybrid-kv-cache-manager and the KV connector that forces it out, or upgrade: grouping of layers improves by version",
            "--mamba-ssm-cache-dtype float16   # a smaller state, so smaller pages, where the model has Mamba layers",
            "leave the speculative model out, to see whether its layers break the grouping",
        ),
        meaning="Layers are grouped into pages of one size; layers that do not match are padded or treated as full attention.",
        harmless="When the context and concurrency you need fit as it is.",
    )
