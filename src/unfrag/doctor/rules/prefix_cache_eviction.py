"""The KV cache forgets prefixes before they are asked for again."""

from __future__ import annotations

import re
import statistics
from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.doctor.weigh.judged import judged
from unfrag.facts.memory_stats import Pool
from unfrag.facts.snapshot import Metrics

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.finding import Certainty
    from unfrag.facts.snapshot import Snapshot

CAUSE = "prefix_cache_eviction"


def can_judge(snapshot: Snapshot) -> bool:
    known = isinstance(snapshot.metrics, Metrics) and bool(snapshot.metrics.prefix_queries)
    known = known or evidence.fact(snapshot, "cached_tokens", "cached_turns") is not None
    known = known or (isinstance(snapshot.metrics, Metrics) and snapshot.metrics.evicted_tokens is not None)
    return known or any(load.hit_rate is not None for load in evidence.loads(snapshot))


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    rates = [load.hit_rate for load in evidence.loads(snapshot) if load.hit_rate is not None]
    usage = [load.usage for load in evidence.loads(snapshot) if load.usage is not None]
    full = bool(usage) and statistics.fmean(usage[-20:]) >= thresholds["usage"]
    third = max(1, len(rates) // 3)
    if len(rates) >= 3:
        early, late = statistics.fmean(rates[:third]), statistics.fmean(rates[-third:])
        if early - late >= thresholds["fall"] and late < early * thresholds["ratio"]:
            certainty: Certainty = "strong" if full else "likely"
            line = f"hit rate {early:.1%} … {late:.1%}"
            return _judged(snapshot, "fell", line, certainty, early=early, late=late)
    told = evidence.fact(snapshot, "cached_tokens")
    if told is not None and told.numbers["first"] >= thresholds["tokens"] > told.numbers["last"] * 10:
        first, last = told.numbers["first"], told.numbers["last"]
        return _judged(snapshot, "conversation", told.text, "strong", first=first, last=last)
    metrics, pool = snapshot.metrics, snapshot.pool
    thrown = metrics.evicted_tokens or 0 if isinstance(metrics, Metrics) else 0
    rate = metrics.hit_rate if isinstance(metrics, Metrics) else None
    if thrown >= thresholds["evicted"] and rate is not None and rate < thresholds["rate"]:
        line = f"{thrown:,.0f} tokens were thrown out, and {rate:.0%} of the prompts' tokens found."
        return _judged(snapshot, "evicted", line, "strong", tokens=thrown, rate=rate)
    turns = [
        [int(n.replace(",", "")) for n in re.findall(r"\d[\d,]{0,20}(?=,\s|\s|$)", e.words["turns"])]
        for log in evidence.logs(snapshot)
        for e in log.all("cached_turns")
    ]
    if any(max(t, default=0) >= thresholds["tokens"] for t in turns) and any(t and not any(t) for t in turns):
        return _judged(snapshot, "turns", str(turns[-1]), "strong")
    if isinstance(metrics, Metrics) and metrics.idle_before_evict and metrics.reuse_gap:
        rate = (metrics.prefix_hits or 0) / metrics.prefix_queries if metrics.prefix_queries else 0.0
        if metrics.idle_before_evict < metrics.reuse_gap and rate < thresholds["rate"]:
            line = (
                f"Blocks are evicted after {metrics.idle_before_evict:.0f} s without use, and asked for again after "
                f"{metrics.reuse_gap:.0f} s; {rate:.0%} of the prompt tokens were found."
            )
            idle, gap = metrics.idle_before_evict, metrics.reuse_gap
            return _judged(snapshot, "too_soon", line, "strong", idle=idle, gap=gap, rate=rate)
    if isinstance(metrics, Metrics) and metrics.prefix_queries and metrics.prefix_hits is not None:
        rate = metrics.prefix_hits / metrics.prefix_queries
        used = pool.gpu_cache_usage if isinstance(pool, Pool) else metrics.kv_cache_usage or 0.0
        cached = pool.cached_blocks if isinstance(pool, Pool) else None
        busy = metrics.prefix_queries >= thresholds["queries"]
        if busy and rate < thresholds["rate"] and used >= thresholds["usage"] and not metrics.preemptions:
            line = f"hits {metrics.prefix_hits:.0f} of {metrics.prefix_queries:.0f}"
            if cached is None:
                return _judged(snapshot, "few", line, "likely", rate=rate, used=used)
            return _judged(snapshot, "few_cached", line, "likely", rate=rate, used=used, cached=cached)
    return None


def _judged(snapshot: Snapshot, seen: str, line: str, certainty: Certainty, **values: Any) -> Judged:
    tokens = evidence.pool_tokens(snapshot)
    if not tokens:
        return judged(seen, line, certainty, fixes=("fp8", "offload", "route"), **values)
    values |= {"pool": tokens, "twice": tokens * 2}
    return judged(seen, line, certainty, fixes=("fp8_tokens", "offload", "route"), **values)
