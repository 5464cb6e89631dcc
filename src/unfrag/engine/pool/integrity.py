"""Does the pool's bookkeeping hold together? Every violation in a sentence; none when it does.

A free block is linked into the queue and no other is; the queue counts as many as there are; every hash leads to a
block that knows it, and the other way round; a request's blocks are counted; the index of free runs equals a fresh
scan. Each slice looks at what holds between two steps, so requests may come and go between slices.
Names read in vLLM 0.30 to 0.33 (``v1/core/block_pool.py``).
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from unfrag.engine.pool.queue import ContiguousQueue
from unfrag.engine.vllm import core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SLICE_BLOCKS = 8192
_MOST = 20
_PHASE = 1 << 32  # where to go on is phase times this, and a place within it


def check_slice(pool: Any, managers: list[Any], start: int) -> tuple[list[str], int | None]:
    """At most ``_MOST`` violations of the slice at ``start``, 0 at first, and where the next one begins."""
    phase, place = divmod(start, _PHASE)
    found, after = _PHASES[phase](pool, managers, place)
    if after is None:
        phase, after = phase + 1, 0
    return list(islice(found, _MOST)), phase * _PHASE + after if phase < len(_PHASES) else None


def check(pool: Any, managers: Iterable[Any]) -> list[str]:
    """All slices at once."""
    found: list[str] = []
    owners = list(managers)
    start: int | None = 0
    while start is not None:
        part, start = check_slice(pool, owners, start)
        found += part
    return found[:_MOST]


def _some_blocks(pool: Any, _: list[Any], start: int) -> tuple[Iterable[str], int | None]:
    end = start + SLICE_BLOCKS
    return _blocks(pool, start, end), end if end < len(pool.blocks) else None


def _blocks(pool: Any, start: int, end: int) -> Iterable[str]:
    known = pool.cached_block_hash_to_block
    for block in pool.blocks[start:end]:
        before, after = block.prev_free_block, block.next_free_block
        queued = before is not None and after is not None
        if queued and (before.next_free_block is not block or after.prev_free_block is not block):
            yield f"block {block.block_id} and its neighbours in the free queue do not lead to each other"
        if block.is_null:
            continue
        if block.ref_cnt < 0:
            yield f"block {block.block_id} is referred to {block.ref_cnt} times"
        if (block.ref_cnt == 0) != queued:
            where = "in" if queued else "not in"
            yield f"block {block.block_id} is referred to {block.ref_cnt} times and {where} the free queue"
        for block_hash in (block.block_hash, *pool.cached_block_hashes_by_block.get(block.block_id, ())):
            if block_hash is not None and not known.contain(block_hash, block.block_id):
                yield f"block {block.block_id} has a hash that does not lead to it"


def _counts(pool: Any) -> Iterable[str]:
    queue = pool.free_block_queue
    free = list(map(core.ref_count, pool.blocks)).count(0) - (pool.null_block.ref_cnt == 0)
    if free != queue.num_free_blocks:
        yield f"{free} blocks are free and the free queue counts {queue.num_free_blocks}"


def _some_hashes(pool: Any, _: list[Any], start: int) -> tuple[Iterable[str], int | None]:
    cache = pool.cached_block_hash_to_block._cache
    part = list(islice(cache.items(), start, start + SLICE_BLOCKS))
    return _hashes(pool, part), start + SLICE_BLOCKS if start + SLICE_BLOCKS < len(cache) else None


def _hashes(pool: Any, part: list[tuple[Any, Any]]) -> Iterable[str]:
    others = pool.cached_block_hashes_by_block
    for block_hash, kept in part:
        for block in kept.values() if isinstance(kept, dict) else (kept,):
            if block._block_hash != block_hash and block_hash not in others.get(block.block_id, ()):
                yield f"a hash leads to block {block.block_id}, which does not have it"
            if pool.blocks[block.block_id] is not block:
                yield f"a hash leads to a block {block.block_id} that is not the pool's"


def _some_tables(_: Any, managers: list[Any], start: int) -> tuple[Iterable[str], int | None]:
    tables = [item for manager in managers for item in manager.req_to_blocks.items()]
    end, blocks = start, 0
    while end < len(tables) and blocks < SLICE_BLOCKS:
        blocks += len(tables[end][1])
        end += 1
    return _tables(tables[start:end]), end if end < len(tables) else None


def _tables(part: list[tuple[str, Any]]) -> Iterable[str]:
    for request_id, table in part:
        held = [block for block in table if not block.is_null]
        if len({block.block_id for block in held}) != len(held):
            yield f"request {request_id} has a block twice"
        for block in held:
            if block.ref_cnt < 1:
                yield f"block {block.block_id} belongs to request {request_id} and is referred to {block.ref_cnt} times"


def _shared(pool: Any, managers: list[Any]) -> Iterable[str]:
    held = np.bincount(np.fromiter(core.table_ids(managers), np.int64), minlength=len(pool.blocks))
    held[pool.null_block.block_id] = 0
    for block_id in np.flatnonzero(held > 1).tolist():
        if (references := pool.blocks[block_id].ref_cnt) < held[block_id]:
            yield f"block {block_id} belongs to {held[block_id]} requests and is referred to {references} times"


def _index(queue: Any) -> Iterable[str]:
    if not isinstance(queue, ContiguousQueue):
        return
    window, reserved = queue.window(), queue.reserved_ids()
    if len(reserved) != sum(end - start for start, end in queue.reserved.items()):
        yield "reserved stretches overlap"
    if not reserved <= window:
        yield f"{len(reserved - window)} reserved blocks are outside the window"
    fresh = _stretches(sorted(window - reserved))
    kept = dict(queue.runs)
    if fresh != kept:
        odd = sorted(set(fresh.items()) ^ set(kept.items()))[:3]
        yield f"the index of free runs differs from a fresh scan, first at {odd}"
    if queue.runs.count != sum(fresh.values()):
        yield f"the index counts {queue.runs.count} blocks, a fresh scan {sum(fresh.values())}"


def _stretches(ids: list[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    start = -1
    for block_id in ids:
        if start >= 0 and block_id == start + found[start]:
            found[start] += 1
        else:
            start = block_id
            found[start] = 1
    return found


_PHASES: tuple[Callable[[Any, list[Any], int], tuple[Iterable[str], int | None]], ...] = (
    _some_blocks,
    _some_hashes,
    _some_tables,
    lambda pool, managers, _: (_counts(pool), None),
    lambda pool, managers, _: (_shared(pool, managers), None),
    lambda pool, managers, _: (_index(pool.free_block_queue), None),
)
