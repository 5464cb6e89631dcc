"""Copies of a request's KV blocks to another memory, as offloading and transfer make them: either pool, in one run.

    python benchmarks/offload_copies.py [--rounds 5]

Layouts are real: two pools are churned by the same requests of about 3,200 tokens (``benchmarks/pool.py``), and the
block ids at prompt end are what is copied. Blocks have GLM-4.7-Flash's sizes (32 tokens x 54,144 B), once with all
layers of a block together (1.7 MB pieces) and once layer by layer (47 x 36,864 B). Adjacent ids become one copy. Both
memories are the host's here: on a CPU a copy costs little by itself, so the count of copies is the finding and the
bandwidth a hint; on a GPU every copy costs a submission.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time

import numpy as np
from pool import UNIT, Server, serve

from unfrag.engine.replay import Turn

BLOCKS, BLOCK_TOKENS, OCCUPANCY = 1200, 32, 0.6
LAYERS, LAYER_BYTES = 47, 576 * 2 * BLOCK_TOKENS


def layouts(contiguous: bool) -> list[list[int]]:
    """Block ids of requests at the end of their prompts, in a pool that was used many times over."""
    chance, turns, fresh = random.Random(3), [], 0
    for _ in range(600):
        units = chance.randrange(5, 8)
        turns.append(
            Turn(
                0.0, units * UNIT - chance.randrange(UNIT), chance.randrange(20, 400), list(range(fresh, fresh + units))
            )
        )
        fresh += units
    server = Server(contiguous, BLOCKS, BLOCK_TOKENS, OCCUPANCY)
    found: list[list[int]] = []
    ends = server._prompt_ends

    def note(request: object) -> None:
        ends(request)
        if server.warm:
            found.append([block.block_id for block in request.blocks])

    server._prompt_ends = note
    serve(turns, server, BLOCKS)
    return found[-60:]


def runs(ids: list[int]) -> list[tuple[int, int]]:
    """Ascending adjacent ids as (start, length)."""
    found: list[list[int]] = []
    for block_id in ids:
        if found and block_id == sum(found[-1]):
            found[-1][1] += 1
        else:
            found.append([block_id, 1])
    return [(start, length) for start, length in found]


def copy_all(requests: list[list[int]], memory: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """(copies a request, GB/s) of requests whose blocks are rows of the last-but-one axis."""
    copies = moved = 0
    started = time.perf_counter()
    for ids in requests:
        at = 0
        for start, length in runs(ids):
            for layer in range(memory.shape[0]):
                target[layer, at : at + length] = memory[layer, start : start + length]
            copies += memory.shape[0]
            at += length
        moved += at * memory.shape[0] * memory.shape[2]
    return copies / len(requests), moved / (time.perf_counter() - started) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    both = {"stock": layouts(False), "contiguous": layouts(True)}
    for name, layers, size in (("blocks", 1, LAYERS * LAYER_BYTES), ("layer by layer", LAYERS, LAYER_BYTES)):
        memory = np.ones((layers, BLOCKS + 1, size), np.uint8)
        target = np.ones((layers, 512, size), np.uint8)
        seen: dict[str, list[tuple[float, float]]] = {"stock": [], "contiguous": []}
        for _ in range(args.rounds):
            for kind, requests in both.items():
                seen[kind].append(copy_all(requests, memory, target))
        said = {
            kind: {
                "copies_per_request": values[0][0],
                "gb_per_second_median": statistics.median(speed for _, speed in values),
                "gb_per_second_range": [min(s for _, s in values), max(s for _, s in values)],
            }
            for kind, values in seen.items()
        }
        print(json.dumps({"layout": name, "requests": len(both["stock"]), **said}, indent=1))


if __name__ == "__main__":
    main()
