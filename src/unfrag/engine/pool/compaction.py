"""Moves blocks so that the free ones lie together: between two steps, a bounded number at a time. No token changes.

The target: with P blocks in use, ids 1 to P hold them and everything above is free. Blocks in use above P move into
free ones at or below P. Cached blocks that nobody uses do not count against it, but one that lies where a block in use
must go is moved first, into an empty block.

Only safe blocks move: every reference to one is a running request's table in an ordinary full-attention group. That
leaves out what a connector, a copy-on-write or a deferred free still holds. Scheduler and workers change together,
between two steps, through :mod:`unfrag.engine.vllm.tables`: rows of the batch keep their order, so no number changes.

Read in vLLM 0.30 to 0.33: ``v1/core/block_pool.py`` (``move_block_hashes``),
``v1/core/single_type_kv_cache_manager.py``. Pipeline parallelism and connectors are refused. With asynchronous
scheduling (the default on GPUs) a worker moves nothing before the step in flight is done.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from unfrag.engine.pool.queue import take_place
from unfrag.engine.vllm import core

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from unfrag.engine.pool.plan import Pair, Plan

    Tables = dict[str, tuple[NDArray[np.int32] | None, ...]]
    Send = Callable[[list[tuple[int, int]], Tables, Tables], None]

# Connectors that keep no block ids of running requests. None was verified, so with any connector nothing moves.
SAFE_CONNECTORS: tuple[str, ...] = ()


class Torn(RuntimeError):
    """Scheduler and workers, or the workers among themselves, know different block tables: no step may follow."""


class Move(NamedTuple):
    """A pair that is moved now; what the target caches goes to ``spill`` first."""

    source: Any
    target: Any
    held: list[tuple[Any, str, int]]
    spill: Any | None


class Moved(NamedTuple):
    """What one pass did. ``remaining``: moves that are still wanted, ``evicted``: cached blocks that were given up."""

    live: int = 0
    cached: int = 0
    evicted: int = 0
    remaining: int = 0


def refusal(scheduler: Any) -> str | None:
    """Why nothing may be moved under this scheduler; None when it may."""
    connector = getattr(scheduler, "connector", None)
    if connector is not None and type(connector).__name__ not in SAFE_CONNECTORS:
        return f"a KV connector is in use ({type(connector).__name__}), which may know blocks by their ids"
    if getattr(scheduler, "use_pp", False):
        return "pipeline parallel keeps several steps in flight"
    if getattr(scheduler, "ec_connector", None) is not None:
        return "an encoder-cache connector is in use"
    if getattr(scheduler, "num_spec_tokens", 0) and getattr(scheduler, "use_v2_model_runner", False):
        return "speculative decoding under Model Runner V2 was not looked at"
    if not core.full_attention(scheduler):
        return "no KV group of this model is ordinary full attention"
    return None


def compact(scheduler: Any, most: int, send: Send, plan: Plan) -> Moved:
    """One pass of at most ``most`` moves of a plan that is worked out.

    Args:
        send: makes the workers copy ``(source, target)`` blocks, all reads before all writes, and replace the named
            requests' tables; its third argument is the tables as they are, to go back to. When it raises, the workers
            are as they were but for the contents of targets, and nothing has changed here but that some cached blocks
            were given up.

    Raises:
        Torn: the workers have moved and the bookkeeping here could not be changed alike.
    """
    pool = scheduler.kv_cache_manager.block_pool
    moves, evicted = _with_spills(pool, plan.take(most), plan.last_target)
    if not moves:
        return Moved()
    copies = [(m.target.block_id, m.spill.block_id) for m in moves if m.spill is not None]
    copies += [(m.source.block_id, m.target.block_id) for m in moves]
    try:
        send(copies, _tables(scheduler, moves, moved=True), _tables(scheduler, moves, moved=False))
    except BaseException:
        # A target may be half written, so what it cached must not be found again. Sources are never written to.
        pool.evict_blocks({m.target.block_id for m in moves})
        raise
    try:
        for move in moves:
            _commit(pool, move)
    except Exception as fault:
        raise Torn(f"the workers moved blocks and the scheduler could not follow: {fault!r}") from fault
    cached = sum(move.spill is not None for move in moves)
    return Moved(len(moves), cached, evicted, plan.remaining)


def _with_spills(pool: Any, now: list[Pair], above: int) -> tuple[list[Move], int]:
    """The moves with a place for what their targets cache; and how many cached blocks were given up for that.

    Places are empty blocks above ``above``, where no target is. Where there are too few, the oldest cached blocks are
    given up: they would have gone next, and the blocks that are vacated here go before them from now on.
    """
    crowded = sum(not _is_empty(pool, pair.target) for pair in now)
    if not crowded:
        return [Move(*pair, None) for pair in now], 0
    places = list(islice((b for b in pool.blocks[above + 1 :] if _is_empty(pool, b)), crowded))
    evicted = 0
    if len(places) < crowded:
        taken = {block.block_id for block in places}
        for block in pool.free_block_queue.iter_blocks_after(None):
            if len(places) == crowded:
                break
            if block.block_id > above and block.block_id not in taken and block.block_id not in pool._reuse_watchers:
                pool.evict_blocks({block.block_id})
                places.append(block)
                evicted += 1
    moves = []
    for pair in now:
        spill = None
        if not _is_empty(pool, pair.target):
            if places:
                spill = places.pop()
            else:
                pool.evict_blocks({pair.target.block_id})
                evicted += 1
        moves.append(Move(*pair, spill))
    return moves, evicted


def _is_empty(pool: Any, block: Any) -> bool:
    """Free, caching nothing, and read by nobody."""
    return (
        block.ref_cnt == 0
        and not block.is_null
        and block.block_hash is None
        and block.block_id not in pool._reuse_watchers
    )


def _tables(scheduler: Any, moves: list[Move], moved: bool) -> Tables:
    """Tables of every request that owns a moved block, as they will be or as they are.

    Request -> ids in each group, None for a group in which nothing of it moves.
    """
    new_id = {move.source.block_id: move.target.block_id for move in moves} if moved else {}
    touched: dict[str, set[int]] = {}
    for move in moves:
        for manager, request_id, _ in move.held:
            touched.setdefault(request_id, set()).add(id(manager))

    def table(manager: Any, request_id: str) -> NDArray[np.int32]:
        blocks = manager.req_to_blocks[request_id]
        return np.array([new_id.get(block.block_id, block.block_id) for block in blocks], np.int32)

    managers = core.managers(scheduler)
    return {
        request_id: tuple(table(manager, request_id) if id(manager) in groups else None for manager in managers)
        for request_id, groups in touched.items()
    }


# The scheduler's side of a move


def _commit(pool: Any, move: Move) -> None:
    source, target, held, spill = move
    queue = pool.free_block_queue
    if spill is not None:
        queue.remove(spill)
        take_place(queue, target, spill)
        _move_hashes(pool, target, spill)
    else:
        queue.remove(target)
    _move_hashes(pool, source, target)
    for manager, request_id, position in held:
        manager.req_to_blocks[request_id][position] = target
    target.ref_cnt, source.ref_cnt = source.ref_cnt, 0
    queue.prepend_n([source])


def _move_hashes(pool: Any, source: Any, target: Any) -> None:
    if source.block_hash is not None:
        pool.move_block_hashes(source, target)
    metrics = pool.metrics_collector.block_metrics if pool.metrics_collector else {}
    if (kept := metrics.pop(source.block_id, None)) is not None:
        metrics[target.block_id] = kept
