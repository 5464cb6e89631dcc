"""Experts lie or are chosen unevenly over the ranks, and the fullest rank decides everybody's KV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding
from unfrag.facts.memory_stats import Pool
from unfrag.facts.snapshot import Metrics
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF030"
CAUSE = "expert_imbalance"
HEALTHY = "The experts lie and are used evenly."


def can_judge(snapshot: Snapshot) -> bool:
    return evidence.has_flag(snapshot, "--enable-expert-parallel") or _balance(snapshot) is not None


def looked(snapshot: Snapshot) -> bool:
    """What each rank holds, or how often each expert is chosen."""
    return len(_weights(snapshot)) > 1 or _balance(snapshot) is not None


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    if not evidence.has_flag(snapshot, "--enable-expert-parallel"):
        return None  # every rank has a part of every expert
    return _held(snapshot, thresholds) or _chosen(snapshot, thresholds)


def _held(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    weights = _weights(snapshot)
    if len(weights) < 2:
        return None
    low, high = min(weights.values()), max(weights.values())
    if high - low < thresholds["bytes"] or low > high * thresholds["ratio"]:
        return None
    fullest = max(weights, key=lambda rank: weights[rank])
    pool = snapshot.pool if isinstance(snapshot.pool, Pool) else None
    lost = ""
    if pool is not None and pool.block_size_bytes and pool.block_size_tokens:
        tokens = int((high - low) / pool.block_size_bytes * pool.block_size_tokens)
        lost = f", which is {tokens:,} tokens of KV that every rank goes without"
    return _finding(
        "warning",
        0.9,
        f"Rank {fullest} holds {size(high - low)} more weights than the lightest rank{lost}.",
        "; ".join(f"rank {rank}: {size(held)} of weights" for rank, held in list(weights.items())[:8]),
        "--tensor-parallel-size and --data-parallel-size whose product divides the number of experts, redundant ones included",
    )


def _chosen(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    balance = _balance(snapshot)
    if balance is None or balance < thresholds["balance"]:
        return None
    return _finding(
        "info",
        0.7,
        f"One expert gets {balance:.1f} times the tokens of the average one, and its rank needs the room for them.",
        f"unfrag_expert_balance_ratio {balance:g}",
        "unfrag serve … --enable-eplb   # moves hot experts; redundant ones (--eplb-config) take memory of every rank",
    )


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


def _finding(severity: Literal["info", "warning"], confidence: float, said: str, seen: str, fix: str) -> Finding:
    return Finding(
        id=ID,
        cause=CAUSE,
        severity=severity,
        confidence=confidence,
        summary=said,
        evidence=(seen,),
        fixes=(
            fix,
            "curl -s 127.0.0.1:8000/plugins/unfrag/experts   # hot experts by layer (--enable-expert-cache=observe)",
        ),
        meaning="With expert parallelism a rank holds whole experts. All ranks get the KV cache of the one with least room.",
        harmless="When the pool is large enough for your requests as it is.",
    )
