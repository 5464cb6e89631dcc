"""What ``--pool contiguous`` costs a server's throughput: one real engine, the same work with either pool, in one run.

    python benchmarks/pool_cost.py [--rounds 12]

The engine is stepped in this process, so both do the same batches. Rounds are A B B A (stock, contiguous, contiguous,
stock); between runs the pool is emptied and its queue exchanged. Time is this process's CPU time. Prints the median of
the rounds' throughput ratios and their spread.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.engine.in_process import an_engine, engine_core

IN_FLIGHT, REQUESTS, BLOCKS = 32, 64, 801


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    args = parser.parse_args()
    os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"
    with an_engine(BLOCKS, IN_FLIGHT) as llm:
        for kind in ("stock", "contiguous"):
            _run(llm, kind)  # warm-up
        ratios = []
        for _ in range(args.rounds):
            first, second, third, fourth = (_run(llm, kind) for kind in ("stock", "contiguous", "contiguous", "stock"))
            ratios.append((first + fourth) / (second + third))
    quartiles = statistics.quantiles(ratios, n=4)
    print(json.dumps({"rounds": args.rounds, "ratio_median": statistics.median(ratios), "ratio_quartiles": quartiles}))


def use_pool(kind: str, manager: Any) -> None:
    """Exchange the queue of an idle pool, whatever it was."""
    from vllm.v1.core.kv_cache_utils import FreeKVCacheBlockQueue

    from unfrag.engine.pool.install import install

    pool = manager.block_pool
    assert pool.reset_prefix_cache()
    for patched in (manager, *manager.coordinator.single_type_managers):
        for name in ("allocate_slots", "allocate_new_blocks"):
            patched.__dict__.pop(name, None)
    free = FreeKVCacheBlockQueue([])
    free.append_n(pool.blocks[1:])
    pool.free_block_queue = free
    if kind == "contiguous":
        assert install(manager) is None


def _run(llm: Any, kind: str) -> float:
    """CPU seconds of the whole work."""
    from vllm import SamplingParams

    use_pool(kind, engine_core(llm).scheduler.kv_cache_manager)
    chance = random.Random(1)
    documents = [[chance.randrange(10, 8000) for _ in range(400)] for _ in range(8)]
    for number in range(REQUESTS):
        prompt = chance.choice(documents) + [chance.randrange(10, 8000) for _ in range(chance.randrange(100, 400))]
        params = SamplingParams(max_tokens=chance.randrange(30, 150), temperature=0, ignore_eos=True)
        llm.llm_engine.add_request(str(number), {"prompt_token_ids": prompt}, params)
    started = time.process_time()
    while llm.llm_engine.has_unfinished_requests():
        llm.llm_engine.step()
    return time.process_time() - started


if __name__ == "__main__":
    main()
