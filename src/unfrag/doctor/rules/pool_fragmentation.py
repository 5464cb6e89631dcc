"""Free KV blocks lie scattered. That costs something only where adjacent blocks matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.doctor.weigh.judged import judged
from unfrag.facts.memory_stats import Pool

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.finding import Certainty
    from unfrag.facts.snapshot import Snapshot

CAUSE = "pool_fragmentation"


def can_judge(snapshot: Snapshot) -> bool:
    return isinstance(snapshot.pool, Pool) or evidence.fact(snapshot, "descriptors", "sparse_pages") is not None


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
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
    line = f"free_blocks {pool.free_blocks}, largest_free_block {pool.largest_free_block}, fragmentation {ratio:.0%}"
    if pool.free_runs is not None:
        line += f", {pool.free_runs} runs"
    certainty: Certainty = "proven" if confirmed else "likely"
    return judged(
        "moved" if moves_blocks else "paged",
        line,
        certainty if moves_blocks else "possible",
        severity="warning" if moves_blocks else "info",
        meaning="moved" if moves_blocks else "paged",
        free=pool.free_blocks,
        largest=pool.largest_free_block,
    )


def _told(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    """Without the pool's own numbers: how many pieces a transfer had, or how empty the pages are that cannot be freed."""
    pieces = [event for log in evidence.logs(snapshot) for event in log.all("descriptors")]
    most = max((max(event.numbers.values(), default=0) for event in pieces), default=0)
    pages = evidence.fact(snapshot, "sparse_pages")
    if most < thresholds["descriptors"] and pages is None:
        return None
    if pages is not None:
        return judged("sparse", pages.text, "strong", meaning="moved")
    return judged("pieces", pieces[-1].text, "strong", meaning="moved", pieces=most)
