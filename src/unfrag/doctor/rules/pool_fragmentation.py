"""Free KV blocks lie scattered. That costs something only where adjacent blocks matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding
from unfrag.facts.memory_stats import Pool

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF002"
CAUSE = "pool_fragmentation"
HEALTHY = "Free KV blocks lie together, or there are too few to matter."


def can_judge(snapshot: Snapshot) -> bool:
    return isinstance(snapshot.pool, Pool) or evidence.fact(snapshot, "descriptors", "sparse_pages") is not None


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    pool = snapshot.pool
    if not isinstance(pool, Pool):
        return _told(snapshot, thresholds)
    if pool.free_blocks == 0:
        return None
    ratio = 1 - pool.largest_free_block / pool.free_blocks
    likely = pool.largest_free_block < thresholds["largest_free_block_likely"] <= pool.free_blocks
    confirmed = (
        pool.largest_free_block < thresholds["largest_free_block_symptom"]
        and pool.free_blocks > thresholds["free_blocks"]
    )
    if ratio < thresholds["fragmentation_ratio"] or not (likely or confirmed):
        return None
    moves_blocks = evidence.moves_blocks(snapshot)
    paged = "vLLM's pool is paged: any free block serves any request, so this alone fails nothing and slows nothing."
    truth = (
        "This server hands KV blocks to other places, so each run costs a copy of its own." if moves_blocks else paged
    )
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="warning" if moves_blocks else "info",
        confidence=(0.9 if confirmed else 0.6) if moves_blocks else 0.5,
        summary=f"{pool.free_blocks} free KV blocks, at most {pool.largest_free_block} of them adjacent. {truth}",
        evidence=(
            f"free_blocks {pool.free_blocks}, largest_free_block {pool.largest_free_block}, "
            f"fragmentation {ratio:.0%}" + (f", {pool.free_runs} runs" if pool.free_runs is not None else ""),
        ),
        fixes=("unfrag flush   # drops evictable cached blocks, harms no running request",),
        meaning="A transfer of scattered blocks needs a descriptor per block where one per request would do."
        if moves_blocks
        else "It would matter with KV transfer, offloading, or a pool that is to shrink.",
        harmless="Without KV transfer, offloading or an elastic pool: always.",
    )


def _told(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    """Without the pool's own numbers: how many pieces a transfer had, or how empty the pages are that cannot be freed."""
    pieces = [event for log in evidence.logs(snapshot) for event in log.all("descriptors")]
    most = max((max(event.numbers.values(), default=0) for event in pieces), default=0)
    pages = evidence.fact(snapshot, "sparse_pages")
    if most < thresholds["descriptors"] and pages is None:
        return None
    line = pages.text if pages is not None else pieces[-1].text
    seen = (
        "Pages that cannot be given back hold a few live blocks each."
        if pages
        else f"A transfer had {most:,.0f} pieces."
    )
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="warning",
        confidence=0.82,
        summary=seen,
        evidence=(line,),
        fixes=("unfrag flush   # drops evictable cached blocks, harms no running request",),
        meaning="A transfer of scattered blocks needs a descriptor per block where one per request would do.",
        harmless="Without KV transfer, offloading or an elastic pool: always.",
    )
