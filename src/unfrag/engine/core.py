"""The engine core's half: methods that its API servers call between two steps. None takes long, however large the pool.

What would take long comes in slices: the caller hands the number that it was given back until it is given none.
"""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

from unfrag.engine import ranks
from unfrag.engine.experts.install import cache_of
from unfrag.engine.pool.live import compactor_of
from unfrag.engine.pool.map import map_slice
from unfrag.engine.publish import publisher_of
from unfrag.engine.vllm import core
from unfrag.engine.vllm.remote import remote_of

if TYPE_CHECKING:
    from concurrent.futures import Future

_EVICT_BLOCKS, _MAP_BLOCKS = 4096, 32768


def unfrag_next(self: Any, seen: int, now: bool) -> Future[tuple[int, dict[str, Any]]]:
    """The engine's next account of itself; see :meth:`Publisher.next`."""
    return publisher_of(self).next(seen, now)


def unfrag_ranks(self: Any) -> list[dict[str, Any]]:
    """Memory of each rank; ``None`` where it is not known, with the reason. Waits for the step in flight."""
    return rank_memory_of(self).read()


def unfrag_ping(self: Any) -> None:
    """Every rank has answered.

    Raises:
        RuntimeError: or not. One that is later than vLLM's own limit ends the engine.
    """
    remote_of(self).agree()


def unfrag_evict(self: Any, start: int) -> int | None:
    """Cached blocks that no request refers to lose their hash, as by eviction; some of them, from block ``start`` on.

    Returns:
        Where to go on; None at the end.
    """
    pool = core.block_pool(self)
    end = start + _EVICT_BLOCKS
    part = pool.blocks[start:end]
    pool.evict_blocks({b.block_id for b in part if b.ref_cnt == 0 and b.block_hash is not None and not b.is_null})
    return end if end < len(pool.blocks) else None


def unfrag_release(self: Any, asked: bool) -> list[dict[str, Any]]:
    """Unused allocator memory goes back, where that is known to be safe or was asked for; see :func:`ranks.release`."""
    return rank_memory_of(self).release(asked)


def unfrag_compact(self: Any) -> dict[str, Any]:
    """One pass of compaction; ``finished`` when no move is left and the pool's bookkeeping was seen to hold."""
    return compactor_of(self).one_pass()


def unfrag_map(self: Any, start: int) -> dict[str, Any]:
    """A slice of the block map from block ``start`` on; ``next``: where to go on."""
    return map_slice(self.scheduler, start, _MAP_BLOCKS)


def unfrag_check(self: Any, start: int) -> tuple[list[str], int | None]:
    """Violations of the pool's bookkeeping, a slice at a time, and where to go on."""
    return compactor_of(self).check(start)


def unfrag_close(self: Any, seconds: float) -> None:
    """Every API server of this engine lets no request in for so long."""
    publisher_of(self).close_for(seconds)


def unfrag_experts(self: Any) -> dict[str, Any] | None:
    """The expert-route cache's counts and each expert's load; None without one."""
    cache = cache_of(self)
    return None if cache is None else cache.counts()


def unfrag_expert_share(self: Any, answer: str) -> tuple[int, int] | None:
    """See ``ExpertCache.share``."""
    cache = cache_of(self)
    return None if cache is None else cache.share(answer)


METHODS = (
    *(unfrag_next, unfrag_ranks, unfrag_ping, unfrag_evict, unfrag_release, unfrag_compact),
    *(unfrag_map, unfrag_check, unfrag_close, unfrag_experts, unfrag_expert_share),
)
"""They become methods of ``EngineCore`` by their names."""


def rank_memory_of(engine_core: Any) -> ranks.RankMemory:
    """The engine core's one, made when it is first asked for."""
    if not hasattr(engine_core, "_unfrag_rank_memory"):
        engine_core._unfrag_rank_memory = ranks.RankMemory(
            remote_of(engine_core),
            core.world_size(engine_core),
            functools.partial(core.is_asleep, engine_core),
            time.monotonic,
        )
    memory: ranks.RankMemory = engine_core._unfrag_rank_memory
    return memory
