"""The KV cache forgets prefixes before they are asked for again."""

from __future__ import annotations

import re
import statistics
from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding
from unfrag.facts.memory_stats import Pool
from unfrag.facts.snapshot import Metrics

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF014"
CAUSE = "prefix_cache_eviction"
HEALTHY = "Prefixes stay in the cache as long as they are asked for."


def can_judge(snapshot: Snapshot) -> bool:
    known = isinstance(snapshot.metrics, Metrics) and bool(snapshot.metrics.prefix_queries)
    known = known or evidence.fact(snapshot, "cached_tokens", "cached_turns") is not None
    known = known or (isinstance(snapshot.metrics, Metrics) and snapshot.metrics.evicted_tokens is not None)
    return known or any(load.hit_rate is not None for load in evidence.loads(snapshot))


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    rates = [load.hit_rate for load in evidence.loads(snapshot) if load.hit_rate is not None]
    usage = [load.usage for load in evidence.loads(snapshot) if load.usage is not None]
    full = bool(usage) and statistics.fmean(usage[-20:]) >= thresholds["usage"]
    third = max(1, len(rates) // 3)
    if len(rates) >= 3:
        early, late = statistics.fmean(rates[:third]), statistics.fmean(rates[-third:])
        if early - late >= thresholds["fall"] and late < early * thresholds["ratio"]:
            seen = f"The prefix hit rate fell from {early:.0%} to {late:.0%}."
            return _finding(snapshot, seen, f"hit rate {early:.1%} … {late:.1%}", 0.8 if full else 0.72)
    told = evidence.fact(snapshot, "cached_tokens")
    if told is not None and told.numbers["first"] >= thresholds["tokens"] > told.numbers["last"] * 10:
        seen = f"Of the same conversation {told.numbers['first']:,.0f} tokens were found, and later {told.numbers['last']:,.0f}."
        return _finding(snapshot, seen, told.text, 0.75)
    metrics, pool = snapshot.metrics, snapshot.pool
    thrown = metrics.evicted_tokens or 0 if isinstance(metrics, Metrics) else 0
    rate = metrics.hit_rate if isinstance(metrics, Metrics) else None
    if thrown >= thresholds["evicted"] and rate is not None and rate < thresholds["rate"]:
        seen = f"{thrown:,.0f} tokens were thrown out, and {rate:.0%} of the prompts' tokens found."
        return _finding(snapshot, seen, seen, 0.82)
    turns = [
        [int(n.replace(",", "")) for n in re.findall(r"\d[\d,]{0,20}(?=,\s|\s|$)", e.words["turns"])]
        for log in evidence.logs(snapshot)
        for e in log.all("cached_turns")
    ]
    if any(max(t, default=0) >= thresholds["tokens"] for t in turns) and any(t and not any(t) for t in turns):
        return _finding(
            snapshot, "Conversations are found again alone, and not in turn with others.", str(turns[-1]), 0.78
        )
    if isinstance(metrics, Metrics) and metrics.idle_before_evict and metrics.reuse_gap:
        rate = (metrics.prefix_hits or 0) / metrics.prefix_queries if metrics.prefix_queries else 0.0
        if metrics.idle_before_evict < metrics.reuse_gap and rate < thresholds["rate"]:
            seen = (
                f"Blocks are evicted after {metrics.idle_before_evict:.0f} s without use, and asked for again after "
                f"{metrics.reuse_gap:.0f} s; {rate:.0%} of the prompt tokens were found."
            )
            return _finding(snapshot, seen, seen, 0.85)
    if isinstance(metrics, Metrics) and metrics.prefix_queries and metrics.prefix_hits is not None:
        rate = metrics.prefix_hits / metrics.prefix_queries
        used = pool.gpu_cache_usage if isinstance(pool, Pool) else metrics.kv_cache_usage or 0.0
        cached = pool.cached_blocks if isinstance(pool, Pool) else None
        busy = metrics.prefix_queries >= thresholds["queries"]
        if busy and rate < thresholds["rate"] and used >= thresholds["usage"] and not metrics.preemptions:
            seen = f"{rate:.0%} of the prompt tokens were found in the cache, which is {used:.0%} full" + (
                f" and keeps {cached} evictable blocks." if cached is not None else "."
            )
            return _finding(snapshot, seen, f"hits {metrics.prefix_hits:.0f} of {metrics.prefix_queries:.0f}", 0.6)
    return None


def _finding(snapshot: Snapshot, seen: str, line: str, confidence: float) -> Finding:
    tokens = evidence.pool_tokens(snapshot)
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="warning",
        confidence=confidence,
        summary=seen,
        evidence=(line,),
        fixes=(
            "--kv-cache-dtype fp8   # twice the tokens in the same memory"
            + (f": {tokens * 2:,} instead of {tokens:,}" if tokens else "")
            + "; rounds keys and values: measure quality",
            "--kv-offloading-size 64   # GiB of host memory for what is evicted",
            "send equal prefixes to the same server, when there are several",
        ),
        meaning="Running requests need the blocks, so cached ones are evicted and the same prefixes are computed again.",
        harmless="When prompts share nothing, or the first token is fast enough.",
    )
