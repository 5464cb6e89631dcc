"""Which block's routes lie in which slot. One index, in the engine core; every rank obeys its orders.

A slot holds the routes of one block of tokens, all layers. Blocks are told apart by vLLM's chained hash, which covers
the tokens before them, adapter, salt and images. A block in the making is open: it belongs to one request, its rows
are written as they are computed, and it is published under its hash once it is full.
"""

from __future__ import annotations

import itertools
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

NOWHERE = -1
_REMEMBERED = 4096  # finished requests whose shares can still be asked for


class Hashes(Protocol):
    """The hashes of a request's full blocks, which become more as it goes on."""

    def __len__(self) -> int: ...

    def __getitem__(self, block: int, /) -> bytes: ...


class Scheduled(NamedTuple):
    """What one step computes of one request: ``tokens`` tokens from position ``start``.

    ``hashes`` is the live list of its block hashes, which grows as blocks fill. ``answer`` is the name its caller
    knows it by. ``preemptions`` counts how often it was preempted. ``known_tokens``: how many tokens it has now.
    """

    request_id: str
    answer: str
    hashes: Hashes
    prompt_tokens: int
    preemptions: int
    known_tokens: int
    start: int
    tokens: int


class Order(NamedTuple):
    """What a rank does with the rows of one request: per block touched, its slot and how many rows are known."""

    start: int
    slots: list[int]
    known: list[int]


class Orders(NamedTuple):
    """One step's, for every rank. ``published`` is done after the step's rows were written."""

    requests: dict[str, Order]
    published: list[tuple[int, bytes]]
    phase: int


@dataclass
class _Open:
    slot: int
    written: int


@dataclass
class _Request:
    hashes: Hashes
    answer: str
    preemptions: int
    furthest: int = 0
    again_to: int = 0
    """Tokens before this position were computed before the last preemption, and are the same now."""
    stale: bool = False
    open: dict[int, _Open] = field(default_factory=dict)


@dataclass
class Counts:
    """Since the start, in tokens (a token has one route per layer), but ``evictions`` in blocks."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0


class RouteIndex:
    """``slots`` slots of ``block_tokens`` tokens each; the least recently used published block makes room.

    ``verify_every``: of the known rows each n-th is computed all the same (1: all of them, 0: none).
    """

    def __init__(self, slots: int, block_tokens: int, verify_every: int = 0) -> None:
        self.slots, self.block_tokens = slots, block_tokens
        self._verify_every = verify_every
        self._phase = 0
        self._free = list(range(slots - 1, -1, -1))
        self._published: OrderedDict[bytes, int] = OrderedDict()
        self._requests: dict[str, _Request] = {}
        self._read: set[int] = set()
        self._answering: Counter[str] = Counter()
        self._shares: OrderedDict[str, list[int]] = OrderedDict()
        self.counts = Counts()

    @property
    def blocks(self) -> int:
        """Published blocks."""
        return len(self._published)

    @property
    def held(self) -> int:
        """Slots in use, open blocks included."""
        return self.slots - len(self._free)

    def restore(self, blocks: Iterable[tuple[int, bytes]]) -> None:
        """Blocks that every rank has in store already; for an index that has given no orders."""
        for slot, key in blocks:
            self._published[key] = slot
        taken = set(self._published.values())
        self._free = [slot for slot in range(self.slots - 1, -1, -1) if slot not in taken]

    def clear(self) -> None:
        """Forget every route. Requests that run go on without: what they compute builds on KV of before."""
        self._published.clear()
        for request in self._requests.values():
            request.stale = True
            request.open.clear()
        self._free = list(range(self.slots - 1, -1, -1))

    def share(self, answer: str) -> tuple[int, int] | None:
        """(prompt tokens of this answer whose routes were served, those computed or served); None when unknown.

        An answer to several prompts is that of ``answer-0``, ``answer-1`` and so on together, as vLLM calls them.
        """
        several = (f"{answer}-{i}" for i in itertools.count())
        found = [
            self._shares[name]
            for name in itertools.chain([answer], itertools.takewhile(self._shares.__contains__, several))
            if name in self._shares
        ]
        return (sum(share[0] for share in found), sum(share[1] for share in found)) if found else None

    def orders(self, scheduled: Iterable[Scheduled], finished: Iterable[str]) -> Orders:
        """One step's orders. No slot is both read and written anew in them."""
        published: list[tuple[int, bytes]] = []
        for request_id in finished:
            self._finish(request_id, published)
        self._read.clear()
        if self._verify_every > 1:
            self._phase = (self._phase + 1) % self._verify_every
        requests = {each.request_id: self._order(each) for each in scheduled}
        for request_id in requests:
            self._publish(self._requests[request_id], published)
        return Orders(requests, published, self._phase)

    def _order(self, now: Scheduled) -> Order:
        request = self._requests.get(now.request_id)
        if request is None:
            if now.answer not in self._answering:
                self._shares.pop(now.answer, None)  # of an earlier request of that name
            self._answering[now.answer] += 1
            request = self._requests[now.request_id] = _Request(now.hashes, now.answer, now.preemptions)
        if now.preemptions != request.preemptions:
            # Tokens in flight when it was preempted may have been dropped, and others come in their place.
            request.preemptions, request.again_to = now.preemptions, min(request.furthest, now.known_tokens)
        slots: list[int] = []
        known: list[int] = []
        size, end = self.block_tokens, now.start + now.tokens
        for block in range(now.start // size, -(-end // size)):
            first = max(now.start - block * size, 0)
            last = min(end - block * size, size)
            slot, rows = self._block(request, block, first, last)
            slots.append(slot)
            known.append(rows)
            self._count(request, now, block * size + first, block * size + last, block * size + rows)
        request.furthest = max(request.furthest, end)
        return Order(now.start, slots, known)

    def _block(self, request: _Request, block: int, first: int, last: int) -> tuple[int, int]:
        """The slot for rows ``first`` to ``last`` of a block, and up to which row it is known."""
        if request.stale:
            return NOWHERE, 0
        held = request.open.get(block)
        if held is None and block < len(request.hashes):
            key = request.hashes[block]
            slot = self._published.get(key)
            if slot is not None:
                self._published.move_to_end(key)
                self._read.add(slot)
                return slot, self.block_tokens
        if held is None:
            slot = self._take() if first == 0 else NOWHERE
            if slot != NOWHERE:
                request.open[block] = _Open(slot, last)
            return slot, 0
        if first > held.written:  # rows in between were never computed here
            self._free.append(request.open.pop(block).slot)
            return NOWHERE, 0
        again = request.again_to - block * self.block_tokens
        if first < again:
            rows = min(held.written, again)
            held.written = max(rows, last)
        else:  # new tokens, or ones in the place of tokens that were taken back
            rows, held.written = 0, last
        return held.slot, rows

    def _count(self, request: _Request, now: Scheduled, first: int, last: int, known_to: int) -> None:
        """A token is looked up when it is the prompt's, or computed a second time; a new one has no route yet."""
        last = min(last, max(now.prompt_tokens, request.furthest))
        if first >= last:
            return
        hits = max(0, min(last, known_to) - first)
        self.counts.hits += hits
        self.counts.misses += last - first - hits
        of_prompt = min(last, now.prompt_tokens)
        if first >= of_prompt:
            return
        share = self._shares.get(request.answer)
        if share is None:
            share = self._shares[request.answer] = [0, 0]
            if len(self._shares) > _REMEMBERED:
                self._shares.popitem(last=False)
        share[0] += self._served(first, min(of_prompt, known_to))
        share[1] += of_prompt - first

    def _served(self, first: int, last: int) -> int:
        """Known rows of positions [first, last) that are not computed all the same."""
        if last <= first:
            return 0
        every = self._verify_every
        if not every:
            return last - first
        before = (first - self._phase + every - 1) // every
        return last - first - ((last - self._phase + every - 1) // every - before)

    def _take(self) -> int:
        if self._free:
            return self._free.pop()
        if not self._published:
            return NOWHERE
        oldest, slot = next(iter(self._published.items()))
        if slot in self._read:  # in this step, as are all the younger ones
            return NOWHERE
        self.counts.evictions += 1
        del self._published[oldest]
        return slot

    def _publish(self, request: _Request, published: list[tuple[int, bytes]]) -> None:
        for block, held in list(request.open.items()):
            if held.written < self.block_tokens or block >= len(request.hashes):
                continue
            del request.open[block]
            key = request.hashes[block]
            if key in self._published:  # another request computed the same block
                self._free.append(held.slot)
                continue
            self._published[key] = held.slot
            published.append((held.slot, key))

    def _finish(self, request_id: str, published: list[tuple[int, bytes]]) -> None:
        request = self._requests.pop(request_id, None)
        if request is None:
            return
        self._answering[request.answer] -= 1
        if not self._answering[request.answer]:
            del self._answering[request.answer]
        self._publish(request, published)
        self._free.extend(held.slot for held in request.open.values())
