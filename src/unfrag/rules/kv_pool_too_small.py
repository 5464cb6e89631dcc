"""Requests wait because the KV pool is full of running ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.facts import Finding, Metrics, Pool

if TYPE_CHECKING:
    from unfrag.facts import Snapshot

ID = "UF004"
CAUSE = "kv_pool_too_small"
HEALTHY = "The KV pool holds what runs now."


def can_judge(snapshot: Snapshot) -> bool:
    return isinstance(snapshot.pool, Pool) and isinstance(snapshot.metrics, Metrics)


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    pool, metrics = snapshot.pool, snapshot.metrics
    assert isinstance(pool, Pool)
    assert isinstance(metrics, Metrics)
    waiting = metrics.waiting or 0
    if pool.gpu_cache_usage < thresholds["usage"] or waiting < thresholds["waiting"]:
        return None
    holds = f"The pool of {pool.capacity_tokens:,} tokens" if pool.capacity_tokens else "The pool"
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="warning",
        confidence=0.8,
        summary=f"{holds} is {pool.gpu_cache_usage:.0%} full and {waiting:.0f} requests wait.",
        evidence=(f"running {metrics.running or 0:.0f}, waiting {waiting:.0f}, usage {pool.gpu_cache_usage:.3f}",),
        fixes=(
            "--kv-cache-dtype fp8   # twice the tokens in the same memory; rounds keys and values: measure quality",
            "raise --gpu-memory-utilization if the cards have memory to spare, or add cards",
        ),
    )
