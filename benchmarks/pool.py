"""How adjacent a request's blocks lie, in vLLM's stock pool and in the contiguous one: a real trace, both in one run.

    python benchmarks/pool.py --trace FILE [--occupancy 0.8] [--json]
    python benchmarks/pool.py --synthetic

No model: real ``BlockPool`` objects, filled as vLLM's scheduler fills them (prompts in chunks of a step, decoding grows
all running requests meanwhile, prefixes are found by the trace's block hashes, finished requests free in reverse).
Requests are taken in the trace's order, as many at a time as the occupancy allows. Counted once every block of the pool
was used at least twice.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from vllm.v1.core.block_pool import BlockPool

from unfrag.engine.free import count_runs, free_blocks, run_lengths
from unfrag.engine.pool.queue import GROWTH, ContiguousQueue
from unfrag.engine.replay import Turn, read

UNIT = 512  # tokens behind one hash of the trace
STEP_TOKENS = 2048


class Running:
    """One request: its blocks, and how far it is."""

    def __init__(self, turn: Turn, block_tokens: int) -> None:
        self.turn = turn
        parts = UNIT // block_tokens
        full = turn.prompt // block_tokens
        self.block_hashes = [
            (unit * parts + part).to_bytes(12, "big", signed=True) for unit in turn.ids for part in range(parts)
        ][:full]
        self.blocks: list[Any] = []
        self.computed = self.cached = 0
        self.end = turn.prompt + turn.output


class Server:
    """A pool and the requests in it, at one block size."""

    def __init__(self, contiguous: bool, blocks: int, block_tokens: int, occupancy: float) -> None:
        self.pool: Any = BlockPool(num_gpu_blocks=blocks + 1, enable_caching=True, hash_block_size=block_tokens)
        if contiguous:
            self.pool.free_block_queue = ContiguousQueue(self.pool.free_block_queue, self.pool.blocks)
        self.contiguous, self.block_tokens = contiguous, block_tokens
        self.limit = int(blocks * occupancy)
        self.running: list[Running] = []
        self.used = [0] * (blocks + 1)
        self.unused = 2 * blocks  # uses that are missing until the pool is warm
        self.runs = self.counted = self.hits = self.prompts = 0
        self.seconds = 0.0
        self.allocated = 0
        self.looks: list[tuple[int, int]] = []

    @property
    def warm(self) -> bool:
        return self.unused == 0

    def admit(self, turn: Turn) -> bool:
        """True when there is room; the prefix that is held is found and kept."""
        request, tokens = Running(turn, self.block_tokens), self.block_tokens
        pinned = self.pool.num_gpu_blocks - 1 - self.pool.get_num_free_blocks()
        if self.running and pinned + self._coming() + -(-request.end // tokens) > self.limit:
            return False
        for block_hash in request.block_hashes[: (turn.prompt - 1) // tokens]:
            found = self.pool.get_cached_block(block_hash, [0])
            if found is None:
                break
            request.blocks.append(found[0])
        self.pool.touch(request.blocks)
        self._use(request.blocks)
        request.cached = len(request.blocks)
        request.computed = request.cached * tokens
        if self.warm:
            self.hits += request.computed
            self.prompts += turn.prompt
        self.running.append(request)
        return True

    def _coming(self) -> int:
        """Blocks that running requests will still take."""
        return sum(-(-r.end // self.block_tokens) - len(r.blocks) for r in self.running)

    def step(self) -> None:
        """Decoding requests get one token, or as many as pass before anything happens; prompts share what is left."""
        budget = STEP_TOKENS
        filling = [r for r in self.running if r.computed < r.turn.prompt]
        decoding = [r for r in self.running if r.computed >= r.turn.prompt]
        ahead = 1
        if not filling and decoding:
            ahead = min(min(r.end - r.computed, len(r.blocks) * self.block_tokens - r.computed + 1) for r in decoding)
        for request in decoding:
            self._compute(request, max(1, ahead))
        budget -= len(decoding)
        for request in filling:
            chunk = min(budget, request.turn.prompt - request.computed)
            if chunk <= 0:
                break
            self._compute(request, chunk)
            budget -= chunk
            if request.computed == request.turn.prompt:
                self._prompt_ends(request)
        for request in [r for r in self.running if r.computed >= r.end]:
            self.pool.free_blocks(reversed(request.blocks))
            self.running.remove(request)

    def _compute(self, request: Running, tokens: int) -> None:
        wanted = request.computed + tokens
        missing = -(-wanted // self.block_tokens) - len(request.blocks)
        if missing > 0:
            request.blocks += self._allocate(request, missing)
        request.computed = wanted
        full = wanted // self.block_tokens
        while len(request.block_hashes) < full:  # what was answered is nobody's prefix
            request.block_hashes.append(f"{id(request)} {len(request.block_hashes)}".encode())
        if full > request.cached:
            self.pool.cache_full_blocks(request, request.blocks, request.cached, full, self.block_tokens, 0)
            request.cached = full

    def _allocate(self, request: Running, missing: int) -> list[Any]:
        started = time.perf_counter()
        if self.contiguous:
            held = len(request.blocks)
            to_come = -(-request.end // self.block_tokens) - held - missing
            prompt = max(0, -(-request.turn.prompt // self.block_tokens) - held - missing)
            after = request.blocks[-1].block_id if held else None
            self.pool.free_block_queue.ask_for(after, min(prompt + GROWTH, to_come))
        blocks: list[Any] = self.pool.get_new_blocks(missing)
        if self.warm:
            self.seconds += time.perf_counter() - started
            self.allocated += missing
        self._use(blocks)
        return blocks

    def _use(self, blocks: list[Any]) -> None:
        if not self.warm:
            for block in blocks:
                self.used[block.block_id] += 1
                self.unused -= self.used[block.block_id] <= 2

    def _prompt_ends(self, request: Running) -> None:
        if not self.warm:
            return
        ids = [block.block_id for block in request.blocks]
        self.counted += len(ids)
        self.runs += count_runs(ids)
        if len(self.looks) < 4000:
            free = [block.block_id for block in free_blocks(self.pool)]
            self.looks.append((max(run_lengths(free), default=0), len(free)))

    def report(self) -> dict[str, Any]:
        if not self.runs or not self.allocated:
            sys.exit("the trace is too short to use every block of the pool twice: give a longer one or fewer --blocks")
        return {
            "blocks_per_run": self.counted / self.runs,
            "hit_rate": self.hits / self.prompts,
            "us_per_alloc": self.seconds / self.allocated * 1e6,
            "largest_free_block": statistics.median(largest for largest, _ in self.looks),
            "free_blocks": statistics.median(free for _, free in self.looks),
        }


def serve(turns: list[Turn], server: Server, blocks: int) -> dict[str, Any]:
    """All turns that fit, in their order."""
    longest = server.limit * server.block_tokens
    waiting = deque(turn for turn in turns if turn.prompt + turn.output <= longest)
    while waiting or server.running:
        while waiting and server.admit(waiting[0]):
            waiting.popleft()
        server.step()
    return server.report()


def conversations(number: int = 6000, seed: int = 7) -> list[Turn]:
    """70% come back with all that was said before and more; prompts of 1 to 60 units."""
    chance, fresh, talks, made = random.Random(seed), 0, [[0]], []
    for _ in range(number):
        ids = list(chance.choice(talks)) if chance.random() < 0.7 else []
        more = 1 + min(40, int(chance.expovariate(1 / 8)))
        ids += range(fresh + 1, fresh + 1 + more)
        fresh += more
        if len(ids) < 60:
            talks = [*talks[-200:], ids]
        made.append(Turn(0.0, len(ids) * UNIT - chance.randrange(UNIT), chance.randrange(10, 800), ids))
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--trace")
    source.add_argument("--synthetic", action="store_true")
    parser.add_argument("--occupancy", type=float, default=0.8)
    parser.add_argument("--blocks", type=int, default=8192)
    parser.add_argument("--block-tokens", type=int, default=32)
    parser.add_argument("--requests", type=int, default=10_000_000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if not 0 < args.occupancy < 1 or UNIT % args.block_tokens:
        parser.error(f"--occupancy is a share; --block-tokens divides {UNIT}")
    if args.trace and not Path(args.trace).is_file():
        parser.error(f"{args.trace}: no such file")
    turns = conversations() if args.synthetic else read(args.trace, args.requests)
    found = {
        name: serve(turns, Server(name == "contiguous", args.blocks, args.block_tokens, args.occupancy), args.blocks)
        for name in ("stock", "contiguous")
    }
    said = {"trace": args.trace or "synthetic", "requests": len(turns), "occupancy": args.occupancy, **found}
    if args.json:
        print(json.dumps(said))
        return 0
    for key in found["stock"]:
        print(f"{key:20} stock {found['stock'][key]:10.3f}   contiguous {found['contiguous'][key]:10.3f}")
    print(f"time of an allocation, ratio: {found['contiguous']['us_per_alloc'] / found['stock']['us_per_alloc']:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
