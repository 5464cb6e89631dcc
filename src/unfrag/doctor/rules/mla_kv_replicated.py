"""Every rank of a tensor-parallel group keeps the whole latent KV of an MLA model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF024"
CAUSE = "mla_kv_replicated"
HEALTHY = "The KV cache is divided among the ranks."


def can_judge(snapshot: Snapshot) -> bool:
    return evidence.is_mla(snapshot) and evidence.tensor_parallel(snapshot) > 1


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    tp = evidence.tensor_parallel(snapshot)
    divided = (
        evidence.has_flag(snapshot, "--enable-dp-attention")
        or (evidence.number(snapshot, "--decode-context-parallel-size") or 1) > 1
    )
    if divided:
        return None
    tokens = evidence.pool_tokens(snapshot)
    wanted = evidence.number(snapshot, "--max-model-len")
    times = evidence.fact(snapshot, "concurrency")
    few = times is not None and times.numbers.get("times", 99.0) < thresholds["concurrency"]
    queued = any(
        (load.waiting or 0) > 0 and (load.usage or 0) > thresholds["usage"] for load in evidence.loads(snapshot)
    )
    refused = evidence.said(snapshot, "kv_context", "kv_none") is not None
    preempting = evidence.said(snapshot, "preempted", "retracted") is not None or any(
        x.preemptions for x in evidence.loads(snapshot)
    )
    pressed = few or queued or refused or preempting
    busy = [load.usage for load in evidence.loads(snapshot) if load.usage is not None]
    if not pressed and (tokens is None or busy):  # traffic that fits shows that there is enough
        return None
    holds = f"; the pool holds {tokens:,} tokens" if tokens else ""
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="warning" if pressed else "info",
        confidence=0.5 if not pressed else 0.6 if refused else 0.8 if preempting else 0.88,
        summary=f"{tp} ranks keep the same latent KV, {tp} times over{holds}.",
        evidence=(times.text if times else f"{evidence.model(snapshot)}, tensor parallel {tp}",),
        fixes=(
            f"--decode-context-parallel-size {tp}   # each rank keeps 1/{tp} of the tokens: {tp} times the context in the same memory",
            f"--data-parallel-size {tp} --tensor-parallel-size 1 --enable-expert-parallel   # each rank its own requests (SGLang: --enable-dp-attention)",
        ),
        meaning="MLA keeps one latent per token for all heads, so there is nothing to divide among ranks.",
        harmless=f"When {wanted:,.0f} tokens of context at the concurrency you need fit as it is."
        if wanted
        else "When the context and concurrency you need fit as it is.",
    )
