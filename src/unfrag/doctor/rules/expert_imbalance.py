"""Experts lie or are chosen unevenly over the ranks, and the fullest rank decides everybody's KV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.doctor.weigh.judged import judged
from unfrag.facts.memory_stats import Pool
from unfrag.facts.snapshot import Metrics
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.snapshot import Snapshot

CAUSE = "expert_imbalance"


def can_judge(snapshot: Snapshot) -> bool:
    return evidence.has_flag(snapshot, "--enable-expert-parallel") or _balance(snapshot) is not None


def looked(snapshot: Snapshot) -> bool:
    """What each rank holds, or how often each expert is chosen."""
    return len(_weights(snapshot)) > 1 or _balance(snapshot) is not None


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    if not evidence.has_flag(snapshot, "--enable-expert-parallel"):
        return None  # every rank has a part of every expert
    return _held(snapshot, thresholds) or _chosen(snapshot, thresholds)


def _held(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    weights = _weights(snapshot)
    if len(weights) < 2:
        return None
    low, high = min(weights.values()), max(weights.values())
    if high - low < thresholds["bytes"] or low > high * thresholds["ratio"]:
        return None
    fullest = max(weights, key=lambda rank: weights[rank])
    pool = snapshot.pool if isinstance(snapshot.pool, Pool) else None
    line = "; ".join(f"rank {rank}: {size(held)} of weights" for rank, held in list(weights.items())[:8])
    known: dict[str, Any] = {"rank": fullest, "more": size(high - low)}
    fixes = ("divide", "ask")
    if pool is None or not pool.block_size_bytes or not pool.block_size_tokens:
        return judged("held", line, "proven", fixes=fixes, **known)
    tokens = int((high - low) / pool.block_size_bytes * pool.block_size_tokens)
    return judged("held_tokens", line, "proven", fixes=fixes, tokens=tokens, **known)


def _chosen(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    balance = _balance(snapshot)
    if balance is None or balance < thresholds["balance"]:
        return None
    line = f"unfrag_expert_balance_ratio {balance:g}"
    return judged("chosen", line, "likely", severity="info", fixes=("balance", "ask"), balance=balance)


def _weights(snapshot: Snapshot) -> dict[str, float]:
    """Bytes of weights by rank: from the plugin, or what each rank printed at the last start."""
    if isinstance(snapshot.pool, Pool):
        told = {str(rank.rank): float(rank.weights_bytes) for rank in snapshot.pool.ranks if rank.weights_bytes}
        if len(told) > 1:
            return told
    for log in evidence.logs(snapshot):
        events = [event for event in log.all("model_loaded") if event.life == log.lives and event.rank]
        printed = {str(event.rank): event.numbers["weights"] for event in events if event.numbers.get("weights")}
        if len(printed) > 1:
            return printed
    return {}


def _balance(snapshot: Snapshot) -> float | None:
    return snapshot.metrics.expert_balance if isinstance(snapshot.metrics, Metrics) else None
