"""Does the pool's book-keeping hold together? Every violation in a sentence; an empty list when it does.

Free + pinned = total; the queue holds each free block once and nothing else; every hash points at a block that knows
it, and the other way round; a request's blocks are counted; the index of free runs equals a fresh scan.
O(blocks). Names read in vLLM 0.32 (``v1/core/block_pool.py``).
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any

from unfrag.engine.pool.queue import ContiguousQueue

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST = 20


def check(pool: Any, managers: Iterable[Any]) -> list[str]:
    """At most ``_MOST`` violations of the pool and of the requests' block tables."""
    found = [*_queue(pool), *_hashes(pool), *_owners(pool, managers)]
    if isinstance(pool.free_block_queue, ContiguousQueue):
        found += _index(pool.free_block_queue)
    return found[:_MOST]


def _queue(pool: Any) -> Iterable[str]:
    queue, blocks = pool.free_block_queue, pool.blocks
    queued = list(islice(queue.iter_blocks_after(None), len(blocks) + 1))  # cut off where it must be circular
    ids = {block.block_id for block in queued}
    if len(ids) != len(queued):
        yield f"the free queue holds {len(queued)} blocks, {len(ids)} different ones"
    if len(queued) != queue.num_free_blocks:
        yield f"the free queue holds {len(queued)} blocks and counts {queue.num_free_blocks}"
    for block in blocks:
        if block.is_null:
            continue
        if block.ref_cnt < 0:
            yield f"block {block.block_id} is referred to {block.ref_cnt} times"
        if (block.ref_cnt == 0) != (block.block_id in ids):
            where = "in" if block.block_id in ids else "not in"
            yield f"block {block.block_id} is referred to {block.ref_cnt} times and {where} the free queue"


def _hashes(pool: Any) -> Iterable[str]:
    known = pool.cached_block_hash_to_block
    for block in pool.blocks:
        for block_hash in (block.block_hash, *pool.cached_block_hashes_by_block.get(block.block_id, ())):
            if block_hash is not None and not known.contain(block_hash, block.block_id):
                yield f"block {block.block_id} has a hash that does not lead to it"
    for block_hash, kept in known._cache.items():
        for block in kept.values() if isinstance(kept, dict) else (kept,):
            others = pool.cached_block_hashes_by_block.get(block.block_id, ())
            if block.block_hash != block_hash and block_hash not in others:
                yield f"a hash leads to block {block.block_id}, which does not have it"
            if pool.blocks[block.block_id] is not block:
                yield f"a hash leads to a block {block.block_id} that is not the pool's"


def _owners(pool: Any, managers: Iterable[Any]) -> Iterable[str]:
    held: Counter[int] = Counter()
    for manager in managers:
        for request_id, blocks in manager.req_to_blocks.items():
            ids = [block.block_id for block in blocks if not block.is_null]
            if len(set(ids)) != len(ids):
                yield f"request {request_id} has a block twice"
            held.update(ids)
    for block_id, count in held.items():
        if (references := pool.blocks[block_id].ref_cnt) < count:
            yield f"block {block_id} belongs to {count} requests and is referred to {references} times"


def _index(queue: ContiguousQueue) -> Iterable[str]:
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
