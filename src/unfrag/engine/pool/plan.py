"""Which blocks are to move where, worked out a little at a time while requests come and go.

The target: with P blocks in use, ids 1 to P hold them and everything above is free. Blocks in use above P move into
free ones at or below P, if every reference to them is a running request's table in an ordinary full-attention group.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from unfrag.engine.vllm import core

if TYPE_CHECKING:
    from collections.abc import Iterator

# Entries of block tables that are sent to the workers in one pass, but for a single table that is longer.
_PASS_ENTRIES = 1 << 18
_LOOK_BLOCKS = 4096


class Pair(NamedTuple):
    """A block in use and the free one it should go to; ``held``: (manager, request, position) of its tables."""

    source: Any
    target: Any
    held: list[tuple[Any, str, int]]


class Plan:
    """Moves that are still to be made: worked out a little at a time, and looked at again before each is made."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._left: list[Pair] = []
        self._looking: Iterator[None] | None = None
        self._boundary = 0

    @property
    def remaining(self) -> int:
        """At most so many moves are still wanted."""
        return len(self._left)

    @property
    def is_begun(self) -> bool:
        """Is it half worked out? What it will hold is of pieces that were looked at one after the other."""
        return self._looking is not None

    @property
    def last_target(self) -> int:
        """No block above this is a target."""
        return self._boundary

    def work_out(self, seconds: float) -> bool:
        """Go on for about so long; is it done? Tables may change between two calls."""
        if self._looking is None:
            self._left = []
            self._looking = self._look()
        end = time.monotonic() + seconds
        for _ in self._looking:
            if time.monotonic() > end:
                return False
        self._looking = None
        return True

    def take(self, most: int) -> list[Pair]:
        """The next moves that are as good as when they were planned, in a number that may be sent at once."""
        pool = self._scheduler.kv_cache_manager.block_pool
        running = {request.request_id for request in self._scheduler.running}
        taken: list[Pair] = []
        tables: dict[tuple[int, str], int] = {}
        while self._left and len(taken) < most and sum(tables.values()) < _PASS_ENTRIES:
            pair = self._left.pop()
            if _still_good(pool, running, pair):
                taken.append(pair)
                tables |= {(id(m), request): len(m.req_to_blocks[request]) for m, request, _ in pair.held}
        return taken

    def _look(self) -> Iterator[None]:
        """Every move that is to be made, a request's blocks in their order. O(blocks), in pieces."""
        pool = self._scheduler.kv_cache_manager.block_pool
        blocks, watched = pool.blocks, pool._reuse_watchers
        self._boundary = boundary = len(blocks) - 1 - pool.get_num_free_blocks()
        found: dict[int, list[tuple[Any, str, int]]] = {}
        running = {request.request_id for request in self._scheduler.running}
        for manager in core.full_attention(self._scheduler):
            for request_id in running:
                for position, block in enumerate(manager.req_to_blocks.get(request_id, ())):
                    if block.block_id > boundary:
                        found.setdefault(block.block_id, []).append((manager, request_id, position))
                yield
        sources = [
            (blocks[block_id], held)
            for block_id, held in found.items()
            if blocks[block_id].ref_cnt == len(held) and block_id not in watched
        ]
        pairs: list[Pair] = []
        for start in range(1, boundary + 1, _LOOK_BLOCKS):
            part = blocks[start : min(start + _LOOK_BLOCKS, boundary + 1)]
            targets = [b for b in part if b.ref_cnt == 0 and b.block_id not in watched]
            wanted = sources[len(pairs) : len(pairs) + len(targets)]
            pairs += [Pair(source, target, held) for (source, held), target in zip(wanted, targets, strict=False)]
            if len(pairs) == len(sources):
                break
            yield
        self._left = pairs[::-1]  # taken from its end


def _still_good(pool: Any, running: set[str], pair: Pair) -> bool:
    """Is the pair as it was when it was planned?"""
    if pair.target.ref_cnt or pair.source.ref_cnt != len(pair.held):
        return False
    if pair.target.block_id in pool._reuse_watchers or pair.source.block_id in pool._reuse_watchers:
        return False
    return all(
        request_id in running and _at(manager.req_to_blocks.get(request_id, ()), position) is pair.source
        for manager, request_id, position in pair.held
    )


def _at(table: Any, position: int) -> Any:
    return table[position] if position < len(table) else None
