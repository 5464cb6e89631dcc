"""What the block pool holds and how its free blocks lie, as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from unfrag.engine.free import fragmentation_ratio
from unfrag.engine.pool.queue import ContiguousQueue
from unfrag.engine.vllm import core

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_SLICE = 4096


class Scan(NamedTuple):
    """Of every block, in one walk: how many are free, how many of those cached, and the runs of free ids."""

    free: int
    cached: int
    runs: int
    largest: int


def scan(pool: Any, breathe: Callable[[], None] = lambda: None) -> Scan:
    """O(blocks), about 0.1 us each. ``breathe`` is called every few thousand of them: what it does may change them."""
    blocks = pool.blocks
    free: NDArray[Any] = np.zeros(len(blocks) + 2, np.int8)
    cached = 0
    for start in range(0, len(blocks), _SLICE):
        part = blocks[start : start + _SLICE]
        unused = np.fromiter(map(core.ref_count, part), np.int64, len(part)) == 0
        free[start + 1 : start + 1 + len(part)] = unused
        cached += sum(part[i].block_hash is not None for i in np.flatnonzero(unused).tolist())
        breathe()
    free[pool.null_block.block_id + 1] = 0
    edges = np.flatnonzero(np.diff(free))
    lengths = edges[1::2] - edges[::2]
    return Scan(int(free.sum()), cached, len(lengths), int(lengths.max(initial=0)))


def read_pool(engine_core: Any, seen: Scan | None = None) -> dict[str, Any]:
    """``memory_stats`` of one engine without its ranks: counts of blocks by state, and how the free ones lie.

    "Free" is vLLM's word: what the next request may take, empty blocks and cached ones that can be evicted.
    So ``pinned_blocks + free_blocks = total_blocks``, and ``cached_blocks`` is a part of ``free_blocks``.
    The null block is counted nowhere.

    Args:
        seen: a scan of a moment ago, for pools too large to be walked for each reading; its numbers are held within
            what the pool counts now.
    """
    pool = core.block_pool(engine_core)
    total = pool.num_gpu_blocks - 1
    seen = seen or scan(pool)
    free = min(total, max(0, pool.get_num_free_blocks()))
    largest = min(seen.largest, free)
    return {
        "gpu_cache_usage": 1 - free / total if total else 0.0,
        "free_blocks": free,
        "largest_free_block": largest,
        "block_size_bytes": core.block_bytes(engine_core),
        "block_size_tokens": core.block_tokens(engine_core),
        "total_blocks": total,
        "pinned_blocks": total - free,
        "cached_blocks": min(seen.cached, free),
        "fragmentation_ratio": fragmentation_ratio(free, largest),
        "free_runs": min(seen.runs, free),
        "tail_waste_tokens": sum(max(0, slots - held) for slots, held in core.held_slots(engine_core)),
        "steps": core.steps(engine_core),
        "kv_connector": core.kv_connector(engine_core),
        "pool": "contiguous" if isinstance(pool.free_block_queue, ContiguousQueue) else "stock",
    }
