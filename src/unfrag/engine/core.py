"""The engine core's half: what the block pool holds, and how to empty it. Runs between two steps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from unfrag.engine import interface, ranks
from unfrag.engine.experts.install import cache_of
from unfrag.engine.free import fragmentation_ratio, free_blocks, run_lengths
from unfrag.engine.pool.live import block_map, check, compactor_of
from unfrag.engine.pool.queue import ContiguousQueue

if TYPE_CHECKING:
    from collections.abc import Callable

# A reading may take this share of the engine's time: after one that took t, the same answer is given for t/share.
_SHARE = 0.005
# A worker is asked at most this often: the call waits for the step in flight.
_RANKS_EVERY_SECONDS = 5.0


class Readings:
    """Memory statistics of one engine, re-read only as often as it can afford.

    One instance lives on the ``EngineCore``; all calls come from its one thread.
    """

    def __init__(self, engine_core: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine_core = engine_core
        self._clock = clock
        self._pool: dict[str, Any] = {}
        self._pool_read_at = float("-inf")
        self._pool_due_at = float("-inf")
        self._ranks: list[dict[str, Any]] = []
        self._ranks_due_at = float("-inf")

    def current(self, fresh: bool = False) -> dict[str, Any]:
        """``memory_stats`` of this engine, and ``age_seconds`` since the pool was read."""
        now = self._clock()
        if fresh or now >= self._ranks_due_at:
            self._ranks = interface.on_every_rank(self._engine_core, ranks.memory)
            now = self._clock()
            self._ranks_due_at = now + _RANKS_EVERY_SECONDS
        if fresh or now >= self._pool_due_at:
            self._pool = read_pool(self._engine_core)
            done = self._clock()
            self._pool_due_at = done + (done - now) / _SHARE
            self._pool_read_at = done
        return {**self._pool, "age_seconds": self._clock() - self._pool_read_at, "ranks": self._ranks}


def read_pool(engine_core: Any) -> dict[str, Any]:
    """Counts of blocks by state, and how the free ones lie.

    "Free" is vLLM's word: what the next request may take, empty blocks and cached ones that can be evicted.
    So ``pinned_blocks + free_blocks = total_blocks``, and ``cached_blocks`` is a part of ``free_blocks``.
    The null block is counted nowhere. O(blocks), about 40 ns each.
    """
    pool = interface.block_pool(engine_core)
    free = free_blocks(pool)
    runs = run_lengths([block.block_id for block in free])
    total = pool.num_gpu_blocks - 1
    largest = max(runs, default=0)
    return {
        "gpu_cache_usage": pool.get_usage(),
        "free_blocks": len(free),
        "largest_free_block": largest,
        "block_size_bytes": interface.block_bytes(engine_core),
        "block_size_tokens": interface.block_tokens(engine_core),
        "total_blocks": total,
        "pinned_blocks": total - len(free),
        "cached_blocks": sum(block.block_hash is not None for block in free),
        "fragmentation_ratio": fragmentation_ratio(len(free), largest),
        "free_runs": len(runs),
        "tail_waste_tokens": sum(max(0, slots - held) for slots, held in interface.held_slots(engine_core)),
        "steps": interface.steps(engine_core),
        "pool": "contiguous" if isinstance(pool.free_block_queue, ContiguousQueue) else "stock",
    }


def unfrag_memory_stats(self: Any) -> dict[str, Any]:
    """Becomes a method of ``EngineCore``: see :class:`Readings`."""
    return _readings(self).current()


def unfrag_flush(self: Any, cached: bool, allocator: bool) -> dict[str, Any]:
    """Becomes a method of ``EngineCore``: drop evictable blocks, release allocator memory; before, after, seconds.

    Only blocks that no request refers to lose their hash, as they would by eviction, so no live request can notice.
    """
    readings = _readings(self)
    started = time.monotonic()
    before = readings.current(fresh=True)
    pool = interface.block_pool(self)
    if cached:
        pool.evict_blocks({block.block_id for block in free_blocks(pool) if block.block_hash is not None})
    if allocator:
        interface.on_every_rank(self, ranks.release)
    after = readings.current(fresh=True)
    return {"before": before, "after": after, "seconds": time.monotonic() - started}


def unfrag_compact(self: Any) -> dict[str, Any]:
    """Becomes a method of ``EngineCore``: one pass of compaction, and the pool as it is then when no move is left."""
    done = compactor_of(self).one_pass()
    finished = done["live"] == 0
    return {**done, "finished": finished, "after": _readings(self).current(fresh=True) if finished else None}


def unfrag_inspect(self: Any) -> dict[str, Any]:
    """Becomes a method of ``EngineCore``: the block map, and what does not hold together in the pool."""
    return {**block_map(self.scheduler), "violations": check(self.scheduler)}


def unfrag_experts(self: Any) -> dict[str, Any] | None:
    """Becomes a method of ``EngineCore``: the expert-route cache's counts and each expert's load; None without one."""
    cache = cache_of(self)
    return None if cache is None else cache.counts()


def unfrag_expert_share(self: Any, answer: str) -> tuple[int, int] | None:
    """Becomes a method of ``EngineCore``: see ``ExpertCache.share``."""
    cache = cache_of(self)
    return None if cache is None else cache.share(answer)


def _readings(engine_core: Any) -> Readings:
    if not hasattr(engine_core, "_unfrag_readings"):
        engine_core._unfrag_readings = Readings(engine_core)
    readings: Readings = engine_core._unfrag_readings
    return readings
