"""A request trace through vLLM's real block pool, without a model: hits, occupancy, preemptions. Prints JSON.

Events by time: a request arrives, is admitted when `max_num_seqs` and the blocks allow it, computes what the cache
does not hold, decodes, grows by a block now and then, finishes and frees. When no block is left for a running request
the youngest is preempted and starts again, as in vLLM. Speeds are two constants, so times are rough; hits and blocks
are exact. One block of the pool is one hashed unit of the trace (512 tokens in Mooncake's).

Read in ``vllm/v1/core/block_pool.py`` and ``kv_cache_manager.py`` of 0.32.
"""

from __future__ import annotations

import heapq
import json
import sys
import time
from collections import deque
from itertools import count
from typing import Any, Protocol


class Turn:
    """One request of the trace. ``block_hashes`` is what vLLM's pool asks a request for."""

    __slots__ = (
        "arrived",
        "block_hashes",
        "blocks",
        "cached",
        "done",
        "generation",
        "ids",
        "output",
        "prompt",
        "since",
    )

    def __init__(self, arrived: float, prompt: int, output: int, ids: list[int]) -> None:
        self.arrived, self.prompt, self.output, self.ids = arrived, prompt, output, ids
        self.block_hashes = [i.to_bytes(16, "big", signed=True) for i in ids]
        self.cached = 0
        self.blocks: Any = None
        self.done = 0
        self.since = arrived
        self.generation = 0


class Cache(Protocol):
    """What holds the blocks: vLLM's pool, or in a test its whole manager."""

    def admit(self, turn: Turn) -> int | None:
        """Tokens found in the cache; None when there is no room."""

    def grow(self, turn: Turn, tokens: int) -> bool:
        """Room for the turn's first ``tokens``; False when there is none."""

    def release(self, turn: Turn) -> None: ...

    def usage(self) -> float: ...


class PoolCache:
    """vLLM's ``BlockPool``, asked as ``KVCacheManager`` asks it for one group of full attention."""

    def __init__(self, blocks: int, unit: int) -> None:
        from vllm.v1.core.block_pool import BlockPool

        self._pool: Any = BlockPool(num_gpu_blocks=blocks + 1, enable_caching=True, hash_block_size=unit)
        self._unit = unit

    def admit(self, turn: Turn) -> int | None:
        pool, unit = self._pool, self._unit
        del turn.block_hashes[turn.prompt // unit :]  # of a block that is not full there is no hash
        hits: list[Any] = []
        for block_hash in turn.block_hashes[: (turn.prompt - 1) // unit]:  # the last token is always computed
            found = pool.get_cached_block(block_hash, [0])
            if found is None:
                break
            hits.append(found[0])
        wanted = -(-turn.prompt // unit) - len(hits)
        evictable = sum(block.ref_cnt == 0 for block in hits)
        if wanted + evictable > pool.get_num_free_blocks():
            return None
        pool.touch(hits)
        turn.blocks = hits + pool.get_new_blocks(wanted)
        turn.cached = len(hits)
        self._cache_full(turn, turn.prompt)
        return len(hits) * unit

    def grow(self, turn: Turn, tokens: int) -> bool:
        missing = -(-tokens // self._unit) - len(turn.blocks)
        if missing <= 0:
            return True
        if missing > self._pool.get_num_free_blocks():
            return False
        turn.blocks += self._pool.get_new_blocks(missing)
        self._cache_full(turn, tokens)
        return True

    def _cache_full(self, turn: Turn, tokens: int) -> None:
        """Full blocks are kept for others. What was answered the trace does not say, so that is nobody's prefix."""
        full = tokens // self._unit
        while len(turn.block_hashes) < full:
            turn.block_hashes.append(f"{id(turn)} {len(turn.block_hashes)}".encode())
        if full > turn.cached:
            self._pool.cache_full_blocks(turn, turn.blocks, turn.cached, full, self._unit, 0)
            turn.cached = full

    def release(self, turn: Turn) -> None:
        self._pool.free_blocks(reversed(turn.blocks))
        turn.blocks = None

    def usage(self) -> float:
        return float(self._pool.get_usage())


def simulate(
    turns: list[Turn], cache: Cache, max_num_seqs: int, prefill_rate: float, tpot: float, unit: int
) -> dict[str, Any]:
    """Run the turns through one server. Times in seconds, rates in tokens a second."""
    server = _Server(cache, max_num_seqs, prefill_rate, tpot, unit)
    for turn in turns:
        server.at(turn.arrived, turn, arrives=True)
    server.run()
    return server.report(len(turns))


class _Server:
    def __init__(self, cache: Cache, max_num_seqs: int, prefill_rate: float, tpot: float, unit: int) -> None:
        self._cache, self._max_num_seqs, self._rate, self._tpot, self._unit = (
            cache,
            max_num_seqs,
            prefill_rate,
            tpot,
            unit,
        )
        self._waiting: deque[Turn] = deque()
        self._running: list[Turn] = []
        self._events: list[tuple[float, int, bool, Turn, int]] = []
        self._order = count()
        self._now = self._area = self._peak = self._waited = 0.0
        self._hit = self._prompts = self._admitted = self._preempted = self._finished = self._refused = self._most = 0

    def at(self, when: float, turn: Turn, arrives: bool = False) -> None:
        """Something happens to a turn then; it is forgotten when the turn was preempted meanwhile."""
        heapq.heappush(self._events, (when, next(self._order), arrives, turn, turn.generation))

    def run(self) -> None:
        while self._events:
            when, _, arrives, turn, generation = heapq.heappop(self._events)
            self._area += self._cache.usage() * (when - self._now)
            self._now = when
            if arrives:
                self._waiting.append(turn)
            elif generation == turn.generation:
                self._step(turn)
            self._admit()
            self._peak = max(self._peak, self._cache.usage())

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self._max_num_seqs:
            turn = self._waiting[0]
            found = self._cache.admit(turn)
            if found is not None and turn.done and not self._cache.grow(turn, turn.prompt + turn.done):
                self._cache.release(turn)  # what it had generated has to be computed again, and has no room yet
                found = None
            if found is None:
                if self._running:
                    return
                self._waiting.popleft()  # larger than the whole pool
                self._refused += 1
                continue
            self._waiting.popleft()
            self._hit += found
            self._prompts += turn.prompt
            self._admitted += 1
            self._waited += self._now - turn.since
            self._running.append(turn)
            self._most = max(self._most, len(self._running))
            self._next(turn, self._now + (turn.prompt + turn.done - found) / self._rate)

    def _until(self, turn: Turn) -> int:
        """Generated tokens up to which the turn's blocks suffice, or its end."""
        held = turn.prompt + turn.done
        return min(turn.output, turn.done + max(1, self._unit - held % self._unit))

    def _next(self, turn: Turn, start: float) -> None:
        self.at(start + (self._until(turn) - turn.done) * self._tpot, turn)

    def _step(self, turn: Turn) -> None:
        """The turn has used up its blocks: it ends, or gets one more, at the expense of the youngest if need be."""
        turn.done = self._until(turn)
        if turn.done >= turn.output:
            self._cache.release(turn)
            self._running.remove(turn)
            self._finished += 1
            return
        while turn in self._running and not self._cache.grow(turn, turn.prompt + turn.done + 1):
            self._throw_out(self._running[-1])
        if turn in self._running:
            self._next(turn, self._now)

    def _throw_out(self, turn: Turn) -> None:
        self._cache.release(turn)
        self._running.remove(turn)
        turn.generation += 1
        turn.since = self._now
        if self._running:
            self._waiting.appendleft(turn)
            self._preempted += 1
        else:
            self._refused += 1  # alone, and the pool is too small for it

    def report(self, requests: int) -> dict[str, Any]:
        return {
            "requests": requests,
            "finished": self._finished,
            "refused": self._refused,
            "prompt_tokens": self._prompts,
            "hit_tokens": self._hit,
            "hit_rate": self._hit / self._prompts if self._prompts else 0.0,
            "preemptions": self._preempted,
            "most_running": self._most,
            "mean_occupancy": self._area / self._now if self._now else 0.0,
            "peak_occupancy": self._peak,
            "mean_wait_seconds": self._waited / self._admitted if self._admitted else 0.0,
            "seconds": self._now,
        }


def read(path: str, limit: int) -> list[Turn]:
    """A trace in Mooncake's format; lines of any other kind are passed over."""
    turns: list[Turn] = []
    with open(path, encoding="utf-8", errors="replace") as stream:
        for line in stream:
            try:
                said = json.loads(line)
                turn = Turn(
                    float(said["timestamp"]) / 1000,
                    max(1, int(said["input_length"])),
                    max(1, int(said["output_length"])),
                    [int(i) for i in said["hash_ids"]],
                )
            except (ValueError, KeyError, TypeError, OverflowError):
                continue
            turns.append(turn)
            if len(turns) >= limit:
                break
    turns.sort(key=lambda turn: turn.arrived)
    return turns


def split(turns: list[Turn], instances: int, by_prefix: bool) -> list[list[Turn]]:
    """Which server gets which turn: in turn, or the one that has seen most of its prefix, the emptier of equals."""
    parts: list[list[Turn]] = [[] for _ in range(instances)]
    seen: list[set[int]] = [set() for _ in range(instances)]
    load = [0] * instances
    for number, turn in enumerate(turns):
        to = number % instances
        if by_prefix:
            known = [next((i for i, block in enumerate(turn.ids) if block not in ids), len(turn.ids)) for ids in seen]
            to = min(range(instances), key=lambda i: (-known[i] if known[i] > 1 else 0, load[i]))
        parts[to].append(turn)
        seen[to].update(turn.ids)
        load[to] += turn.prompt + turn.output
    return parts


def main() -> None:
    asked = json.loads(sys.argv[1])
    unit = asked["unit"]
    turns = read(asked["trace"], asked["limit"])
    started = time.monotonic()
    parts = split(turns, asked["instances"], asked["by_prefix"])
    answers = [
        simulate(
            part,
            PoolCache(asked["tokens"] // unit, unit),
            asked["max_num_seqs"],
            asked["prefill_rate"],
            asked["tpot"],
            unit,
        )
        for part in parts
    ]
    seconds = time.monotonic() - started
    print(  # noqa: T201
        json.dumps(
            {
                "instances": answers,
                "hit_rate": sum(a["hit_tokens"] for a in answers) / max(1, sum(a["prompt_tokens"] for a in answers)),
                "preemptions": sum(a["preemptions"] for a in answers),
                "replayed_per_minute": 60 * len(turns) / seconds if seconds else None,
            }
        )
    )


if __name__ == "__main__":
    main()
