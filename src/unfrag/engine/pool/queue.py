"""vLLM's free queue, handing out adjacent blocks: takes the place of the queue inside an otherwise stock ``BlockPool``.

The queue keeps vLLM's order of eviction. Its oldest end is the *window*; blocks are handed out from anywhere in the
window, so what is evicted is always among the least recently used. Within it a request gets, in this order: the blocks
reserved after its own last one, the free ones after its own last one, the run that best fits what it still needs.
What it will need after this call is *reserved*: those blocks stay free and in the queue, but others take them last.

Invariant: every block before ``_edge`` is either in ``runs`` or reserved, and no block from ``_edge`` on is.

Written against ``vllm/v1/core/kv_cache_utils.py`` (``FreeKVCacheBlockQueue``) of 0.30 to 0.33.
"""

from __future__ import annotations

import functools
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from unfrag.engine.pool.runs import Runs
from unfrag.engine.vllm.pools import StockQueue

if TYPE_CHECKING:
    from collections.abc import Iterable

WINDOW_BLOCKS = 256
WINDOW_PER_BLOCK = 2  # times what is asked for
WINDOW_MOST = 0.1  # of the free blocks, in search of a good run and in any case
GOOD_RUN = 16  # blocks; merging more of them into one transfer gains little
GROWTH = 4  # blocks that are reserved for a request's answer


class ContiguousQueue(StockQueue):  # type: ignore[misc]
    """Takes over the free blocks of a stock queue in its order. ``blocks``: all of the pool, by id."""

    def __init__(self, stock: Any, blocks: list[Any]) -> None:
        super().__init__([])
        size = len(blocks)
        self._blocks = blocks
        self.runs = Runs(size)
        self.reserved: dict[int, int] = {}
        """First block after the last one of a request -> end of what is reserved for it."""
        self._held = bytearray(size)
        self._edge: Any = self.fake_free_list_tail
        self._after: int | None = None
        self._more = 0
        self.append_n(stock.get_all_free_blocks())

    def ask_for(self, after: int | None, more: int) -> None:
        """What the next allocations are for, until the next call of this.

        Args:
            after: id of the request's last block; None for its first.
            more: blocks that it will need after those that it takes now.
        """
        self._after, self._more = after, more

    def popleft_n(self, n: int) -> list[Any]:
        """``n`` free blocks, adjacent ones as far as possible; the caller has made sure that there are so many."""
        assert self.num_free_blocks >= n
        taken: list[tuple[int, int]] = []
        missing = n
        if self._after is not None and missing:
            missing -= self._extend(self._after + 1, missing, taken)
        if missing:
            self._open(missing)
            while missing:
                missing -= self._take_run(missing, taken)
        blocks: list[Any] = []
        for start, length in taken:
            blocks += self._blocks[start : start + length]
        self._unlink(blocks)
        if blocks:
            self._after = blocks[-1].block_id
        return blocks

    def popleft(self) -> Any:
        """The oldest free block."""
        block = self.fake_free_list_head.next_free_block
        if self.num_free_blocks == 0:
            raise ValueError("No free blocks available")
        self.remove(block)
        return block

    def remove(self, block: Any) -> None:
        """Out of the queue, from wherever it is: it was hit, or is the target of a move."""
        block_id = block.block_id
        if self._held[block_id]:
            self._give_up(next(start for start, end in self.reserved.items() if start <= block_id < end))
        if block_id in self.runs:
            self.runs.remove(block_id, 1)
        elif block is self._edge:
            self._edge = block.next_free_block
        super().remove(block)

    def append(self, block: Any) -> None:
        self.append_n([block])

    def append_n(self, blocks: list[Any]) -> None:
        """At the young end: outside the window, unless that is the whole queue."""
        if not blocks:
            return
        self._release_after(blocks)
        super().append_n(blocks)
        if self._edge is self.fake_free_list_tail:
            self._edge = blocks[0]

    def prepend_n(self, blocks: list[Any]) -> None:
        """At the old end: inside the window."""
        if not blocks:
            return
        self._release_after(blocks)
        super().prepend_n(blocks)
        self.runs.add_ids(block.block_id for block in blocks)

    def replace(self, old: Any, new: Any) -> None:
        """A block that is not free takes the place of a free one, which leaves the queue."""
        inside = old.block_id in self.runs or bool(self._held[old.block_id])
        at_edge = old is self._edge
        relink(self, old, new)
        if inside:
            self.runs.add(new.block_id, 1)
        elif at_edge:
            self._edge = new

    def window(self) -> set[int]:
        """Ids of the blocks before the edge, by walking there. O(window)."""
        return {block.block_id for block in takewhile(lambda b: b is not self._edge, self.iter_blocks_after(None))}

    def reserved_ids(self) -> set[int]:
        """Ids that are kept for requests which run."""
        return {block_id for start, end in self.reserved.items() for block_id in range(start, end)}

    # How blocks are chosen

    def _extend(self, start: int, wanted: int, taken: list[tuple[int, int]]) -> int:
        """Blocks right after the request's last one; how many."""
        end = self.reserved.pop(start, None)
        if end is not None:
            length = min(wanted, end - start)
            self._held[start : start + length] = bytes(length)
            taken.append((start, length))
            if start + length < end:
                self.reserved[start + length] = end
            return length
        if start >= len(self._held) or start not in self.runs:
            return 0
        _, there = self.runs.around(start)
        return self._take(start, min(there, wanted + self._more), wanted, taken)

    def _take_run(self, wanted: int, taken: list[tuple[int, int]]) -> int:
        useful = wanted + self._more
        run = self.runs.fitting(useful) or self.runs.longest()
        if (run is None or run[1] < min(useful, GOOD_RUN)) and self._open_wider():
            return 0
        if run is None:
            self._make_room(wanted)
            return 0
        start, there = run
        used = min(there, useful)
        # From its end: freed blocks lie as their request did, and what begins a prompt is worth more than what ends it.
        return self._take(start + there - used, used, wanted, taken)

    def _take(self, start: int, used: int, wanted: int, taken: list[tuple[int, int]]) -> int:
        """A stretch of a run: ``wanted`` blocks or fewer are handed out, the ones after them reserved."""
        length = min(used, wanted)
        kept = used - length
        self.runs.remove(start, used)
        taken.append((start, length))
        if kept:
            first = start + length
            self.reserved[first] = first + kept
            self._held[first : first + kept] = b"\1" * kept
        return length

    # The window

    def _open(self, wanted: int) -> None:
        """Let the window grow to its size when half of it is used up."""
        most = int(WINDOW_MOST * self.num_free_blocks)
        size = max(wanted, 16, min(most, max(WINDOW_BLOCKS, WINDOW_PER_BLOCK * wanted)))
        if self.runs.count < max(wanted, size // 2):
            self._advance(size - self.runs.count)

    def _open_wider(self) -> bool:
        """Some more of the queue, when the window holds nothing good and is not at its largest; was there any?"""
        if self.runs.count >= WINDOW_MOST * self.num_free_blocks or self._edge is self.fake_free_list_tail:
            return False
        self._advance(64)
        return True

    def _advance(self, number: int) -> None:
        ids: list[int] = []
        block, tail = self._edge, self.fake_free_list_tail
        while block is not tail and len(ids) < number:
            ids.append(block.block_id)
            block = block.next_free_block
        self._edge = block
        self.runs.add_ids(ids)

    def _make_room(self, wanted: int) -> None:
        """The window is used up: what others have reserved, then younger blocks."""
        if self.reserved:
            for start in list(self.reserved):
                self._give_up(start)
        else:
            self._advance(max(wanted, 16))

    # Reservations

    def _give_up(self, start: int) -> None:
        end = self.reserved.pop(start)
        self._held[start:end] = bytes(end - start)
        self.runs.add(start, end - start)

    def _release_after(self, freed: Iterable[Any]) -> None:
        """A request that gives its blocks back needs no more."""
        if not self.reserved:
            return
        for block in freed:
            if block.block_id + 1 in self.reserved:
                self._give_up(block.block_id + 1)

    def _unlink(self, blocks: list[Any]) -> None:
        for block in blocks:
            before, after = block.prev_free_block, block.next_free_block
            before.next_free_block = after
            after.prev_free_block = before
            block.prev_free_block = block.next_free_block = None
        self.num_free_blocks -= len(blocks)


def take_place(queue: Any, old: Any, new: Any) -> None:
    """``new``, which is not free, takes the place of a free block in the order of eviction, in either kind of queue."""
    replace = queue.replace if isinstance(queue, ContiguousQueue) else functools.partial(relink, queue)
    replace(old, new)


def relink(queue: Any, old: Any, new: Any) -> None:
    """The links of :func:`take_place`."""
    before = old.prev_free_block
    queue.remove(old)
    after = before.next_free_block
    before.next_free_block = after.prev_free_block = new
    new.prev_free_block, new.next_free_block = before, after
    queue.num_free_blocks += 1
