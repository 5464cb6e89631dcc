"""Moves blocks so that the free ones lie together: between two steps, a bounded number at a time. No token changes.

The target: with P blocks in use, ids 1 to P hold them and everything above is free. Blocks in use above P move into
free ones at or below P. Cached blocks that nobody uses do not count against it, but one that lies where a block in use
must go is moved first, into an empty block.

Only safe blocks move: every reference to one is a running request's table in an ordinary full-attention group. That
leaves out what a connector, a copy-on-write or a deferred free still holds. Scheduler and workers change together,
between two steps, through :mod:`unfrag.engine.pool.move`: rows of the batch keep their order, so no number changes.

Read in vLLM 0.32: ``v1/core/block_pool.py`` (``move_block_hashes``), ``v1/core/single_type_kv_cache_manager.py``.
Pipeline parallelism and connectors are refused. With asynchronous scheduling (the default on GPUs) a worker waits for
the step in flight before it moves anything; that could not be run here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from unfrag.engine.pool.queue import ContiguousQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    Send = Callable[[list[tuple[int, int]], dict[str, tuple[list[int], ...]]], None]

# Connectors that keep no block ids of running requests. None was verified, so with any connector nothing moves.
SAFE_CONNECTORS: tuple[str, ...] = ()


class Move(NamedTuple):
    """A block in use goes from ``source`` to ``target``; what ``target`` caches goes to ``spill`` first."""

    source: Any
    target: Any
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
    if not _movable_groups(scheduler):
        return "no KV group of this model is ordinary full attention"
    return None


def _movable_groups(scheduler: Any) -> list[Any]:
    """Managers whose tables are lists of blocks and nothing else."""
    from vllm.v1.core.single_type_kv_cache_manager import FullAttentionManager

    return [m for m in scheduler.kv_cache_manager.coordinator.single_type_managers if type(m) is FullAttentionManager]


def compact(scheduler: Any, most: int, send: Send) -> Moved:
    """One pass of at most ``most`` moves.

    Args:
        send: makes the workers copy ``(source, target)`` blocks, all at once, and replace the named requests' tables.
            When it raises, nothing has changed but that some cached blocks were given up.
    """
    pool = scheduler.kv_cache_manager.block_pool
    owners = _owners(scheduler)
    wanted = _wanted(scheduler, owners)
    moves, evicted = _with_spills(pool, wanted[:most])
    if not moves:
        return Moved(evicted=evicted, remaining=len(wanted))
    copies = [(m.target.block_id, m.spill.block_id) for m in moves if m.spill is not None]
    copies += [(m.source.block_id, m.target.block_id) for m in moves]
    tables = _tables(scheduler, owners, moves)
    try:
        send(copies, tables)
    except BaseException:
        # Sources are whole; a target may be half written, so what it cached must not be found again.
        pool.evict_blocks({m.target.block_id for m in moves})
        raise
    for move in moves:
        _commit(pool, owners, move)
    cached = sum(move.spill is not None for move in moves)
    return Moved(len(moves), cached, evicted, len(wanted) - len(moves))


# Who holds what


def _owners(scheduler: Any) -> dict[int, list[tuple[Any, str, int]]]:
    """Block id -> (manager, request, position) of every table that holds it."""
    found: dict[int, list[tuple[Any, str, int]]] = {}
    for manager in scheduler.kv_cache_manager.coordinator.single_type_managers:
        for request_id, blocks in manager.req_to_blocks.items():
            for position, block in enumerate(blocks):
                if not block.is_null:
                    found.setdefault(block.block_id, []).append((manager, request_id, position))
    return found


def _wanted(scheduler: Any, owners: dict[int, list[tuple[Any, str, int]]]) -> list[tuple[Any, Any]]:
    """(source, target) for every move that is still to be made, a request's blocks in their order."""
    pool = scheduler.kv_cache_manager.block_pool
    blocks, watched = pool.blocks, pool._reuse_watchers
    groups = {id(manager) for manager in _movable_groups(scheduler)}
    running = {request.request_id for request in scheduler.running}
    boundary = len(blocks) - 1 - pool.get_num_free_blocks()
    sources = []
    for block_id, held in owners.items():
        if block_id <= boundary or blocks[block_id].ref_cnt != len(held) or block_id in watched:
            continue
        if all(request_id in running and id(manager) in groups for manager, request_id, _ in held):
            sources.append(blocks[block_id])
    targets = [b for b in blocks[1 : boundary + 1] if b.ref_cnt == 0 and b.block_id not in watched]
    return list(zip(sources, targets, strict=False))


def _with_spills(pool: Any, wanted: list[tuple[Any, Any]]) -> tuple[list[Move], int]:
    """The moves with a place for what their targets cache, empty targets first; and how many caches were given up."""
    taken = {block.block_id for pair in wanted for block in pair}
    empty = (b for b in reversed(pool.blocks) if _is_empty(b) and b.block_id not in taken)
    moves, crowded = [], []
    for source, target in wanted:
        if _is_empty(target):
            moves.append(Move(source, target, None))
        elif (spill := next(empty, None)) is not None and spill.block_id > target.block_id:
            moves.append(Move(source, target, spill))
        else:
            crowded.append((source, target))
    evicted = 0
    if not moves and crowded:  # no empty block anywhere: give up one cached block, the next pass goes on from there
        source, target = crowded[0]
        pool.evict_blocks({target.block_id})
        moves, evicted = [Move(source, target, None)], 1
    return moves, evicted


def _is_empty(block: Any) -> bool:
    return block.ref_cnt == 0 and not block.is_null and block.block_hash is None


def _tables(
    scheduler: Any, owners: dict[int, list[tuple[Any, str, int]]], moves: list[Move]
) -> dict[str, tuple[list[int], ...]]:
    """The tables of every request that owns a moved block, as they will be: request -> ids in each group."""
    new_id = {move.source.block_id: move.target.block_id for move in moves}
    moved = {request_id for move in moves for _, request_id, _ in owners[move.source.block_id]}
    managers = scheduler.kv_cache_manager.coordinator.single_type_managers
    return {
        request_id: tuple(
            [new_id.get(block.block_id, block.block_id) for block in manager.req_to_blocks.get(request_id, ())]
            for manager in managers
        )
        for request_id in moved
    }


# The scheduler's side of a move


def _commit(pool: Any, owners: dict[int, list[tuple[Any, str, int]]], move: Move) -> None:
    source, target, spill = move
    queue = pool.free_block_queue
    if spill is not None:
        queue.remove(spill)
        _replace(queue, target, spill)
        _move_hashes(pool, target, spill)
    else:
        queue.remove(target)
    _move_hashes(pool, source, target)
    for manager, request_id, position in owners[source.block_id]:
        manager.req_to_blocks[request_id][position] = target
    target.ref_cnt, source.ref_cnt = source.ref_cnt, 0
    queue.prepend_n([source])


def _replace(queue: Any, old: Any, new: Any) -> None:
    """``new`` takes the place of a free block in the order of eviction."""
    if isinstance(queue, ContiguousQueue):
        queue.replace(old, new)
        return
    before = old.prev_free_block
    queue.remove(old)
    after = before.next_free_block
    before.next_free_block = after.prev_free_block = new
    new.prev_free_block, new.next_free_block = before, after
    queue.num_free_blocks += 1


def _move_hashes(pool: Any, source: Any, target: Any) -> None:
    if source.block_hash is not None:
        pool.move_block_hashes(source, target)
    metrics = pool.metrics_collector.block_metrics if pool.metrics_collector else {}
    if (kept := metrics.pop(source.block_id, None)) is not None:
        metrics[target.block_id] = kept
