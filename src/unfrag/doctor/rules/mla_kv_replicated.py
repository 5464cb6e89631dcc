"""Every rank of a tensor-parallel group keeps the whole latent KV of an MLA model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.doctor.weigh.judged import judged

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.finding import Certainty
    from unfrag.facts.snapshot import Snapshot

CAUSE = "mla_kv_replicated"


def can_judge(snapshot: Snapshot) -> bool:
    return evidence.is_mla(snapshot) and evidence.tensor_parallel(snapshot) > 1


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
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
    certainty: Certainty = "strong" if preempting else "proven"
    if refused:
        certainty = "likely"
    if not pressed:
        certainty = "possible"
    values: dict[str, Any] = {"tokens": tokens} if tokens else {}
    values |= {"context": wanted} if wanted else {}
    return judged(
        "copies_tokens" if tokens else "copies",
        times.text if times else f"{evidence.model(snapshot)}, tensor parallel {tp}",
        certainty,
        severity="warning" if pressed else "info",
        harmless="context" if wanted else "enough",
        ranks=tp,
        **values,
    )
