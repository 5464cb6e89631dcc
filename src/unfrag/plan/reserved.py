"""What a running server has reserved and does not use, with the change that frees or uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from unfrag.facts.memory_stats import Pool
from unfrag.facts.snapshot import Gpus, Metrics
from unfrag.facts.values import Unknown
from unfrag.units import GIB

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

_KEEP = GIB  # on a card, for peaks that were not seen yet
_WORTH_NAMING = GIB // 2
_LITTLE_USED = 0.3


class Reserved(msgspec.Struct, frozen=True):
    """``bytes`` of one rank or card that nothing uses now; ``do``: the flag or the step that changes it."""

    what: str
    bytes: int
    do: str


def find(snapshot: Snapshot) -> tuple[Reserved, ...] | Unknown:
    """Look. Unknown where neither the plugin nor NVML says a byte."""
    pool, gpus = snapshot.pool, snapshot.gpus
    if isinstance(pool, Unknown) and isinstance(gpus, Unknown):
        return Unknown(f"{pool.why}; {gpus.why}")
    found: list[Reserved] = []
    if isinstance(pool, Pool):
        found += _on_ranks(pool)
        found += _in_pool(pool, snapshot)
    if isinstance(gpus, Gpus) and not found:
        free = [gpu.total_bytes - gpu.used_bytes for gpu in gpus.gpus if gpu.total_bytes and gpu.used_bytes]
        if free and min(free) - _KEEP > _WORTH_NAMING:
            found.append(_free(min(free), None))
    return tuple(found)


def _on_ranks(pool: Pool) -> list[Reserved]:
    found = []
    free = [
        rank.total_bytes - rank.reserved_bytes - rank.non_torch_bytes
        for rank in pool.ranks
        if rank.total_bytes is not None and rank.reserved_bytes is not None and rank.non_torch_bytes is not None
    ]
    if free and min(free) - _KEEP > _WORTH_NAMING:
        found.append(_free(min(free), pool.capacity_bytes))
    slack = [r.reserved_bytes - r.allocated_bytes for r in pool.ranks if r.reserved_bytes and r.allocated_bytes]
    if slack and max(slack) > _WORTH_NAMING:
        found.append(
            Reserved(
                "PyTorch keeps it from a past peak",
                max(slack),
                "room for the next peak; if nothing like it comes back, --kv-cache-memory-bytes may take a part of it",
            )
        )
    return found


def _free(free: int, cache: int | None) -> Reserved:
    spare = free - _KEEP
    do = "raise --gpu-memory-utilization by 0.01 at a time"
    if cache is not None:
        do = f"--kv-cache-memory-bytes {cache + spare} gives it to the cache and leaves {_KEEP // GIB} GiB"
    return Reserved("free on every card", spare, do)


def _in_pool(pool: Pool, snapshot: Snapshot) -> list[Reserved]:
    """Blocks that nobody has ever used, and a max_num_seqs that the pool cannot serve."""
    if pool.block_size_bytes is None or pool.total_blocks is None or pool.cached_blocks is None:
        return []
    found = []
    empty = pool.free_blocks - pool.cached_blocks
    metrics = snapshot.metrics
    waits = isinstance(metrics, Metrics) and bool(metrics.waiting)
    if pool.gpu_cache_usage < _LITTLE_USED and empty > pool.total_blocks / 2 and not waits:
        found.append(
            Reserved(
                "KV blocks that hold nothing now, not even a cached prefix",
                empty * pool.block_size_bytes,
                "nothing, if the busiest hour has not come yet; else serve more: raise --max-num-seqs or "
                "--max-model-len, or give the memory to something else with --kv-cache-memory-bytes",
            )
        )
    return found
