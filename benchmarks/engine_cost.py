"""What unfrag costs the engine's thread: per step, and per call on a pool of 133,000 blocks.

    python benchmarks/engine_cost.py [--rounds 8]                      Model Runner V1

*Steps.* One real engine, the same work stepped in this process, ways of running it in turn in each round: stock (none
of unfrag runs), listened to (an API server keeps its question waiting, as it does when nobody polls), polled (memory of
ranks is read every 5 s as well, and a fresh reading asked for ten times a second), and the contiguous pool. Prints the
median step in microseconds, and each way's ratio to stock: median of the rounds and quartiles.

*Calls.* Each thing that runs on the engine's thread, on vLLM's own block pool of an H200's size: the longest call of
each kind in milliseconds, median of the repeats.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.pool_cost import use_pool
from tests.engine.in_process import an_engine, engine_core
from tests.engine.manager import a_manager
from unfrag.engine import core
from unfrag.engine.pool import integrity
from unfrag.engine.pool.map import map_slice
from unfrag.engine.publish import publisher_of

WAYS = ("stock", "listened to", "polled", "contiguous")
LARGE = 133_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 32])
    args = parser.parse_args()
    os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"
    found: dict[str, Any] = {"calls_ms": calls(args.rounds)}
    with an_engine(801, max(args.batches)) as llm:
        found["runner"] = "v2" if "UNFRAG_RIG_V2" in os.environ else "v1"
        found["asynchronous"] = bool(engine_core(llm).vllm_config.scheduler_config.async_scheduling)
        found["steps"] = {batch: steps(llm, batch, args.rounds) for batch in args.batches}
    print(json.dumps(found, indent=1))


def steps(llm: Any, batch: int, rounds: int) -> dict[str, Any]:
    seen: dict[str, list[float]] = {way: [] for way in WAYS}
    for way in WAYS:
        _run(llm, way, batch)  # warm-up
    for number in range(rounds):
        for way in WAYS if number % 2 else reversed(WAYS):
            seen[way].append(_run(llm, way, batch))
    ratios = {way: [one / stock for one, stock in zip(seen[way], seen["stock"], strict=True)] for way in WAYS[1:]}
    return {
        "stock_step_us": round(statistics.median(seen["stock"]) * 1e6),
        **{
            way: {"ratio_median": round(statistics.median(r), 4), "quartiles": [round(q, 4) for q in _quartiles(r)]}
            for way, r in ratios.items()
        },
    }


def _quartiles(values: list[float]) -> tuple[float, float]:
    low, _, high = statistics.quantiles(values, n=4)
    return low, high


def _run(llm: Any, way: str, batch: int) -> float:
    """Median seconds of a step that decodes ``batch`` requests."""
    from vllm import SamplingParams

    use_pool("contiguous" if way == "contiguous" else "stock", engine_core(llm).scheduler.kv_cache_manager)
    for number in range(batch):
        params = SamplingParams(max_tokens=200, temperature=0, ignore_eos=True)
        llm.llm_engine.add_request(str(number), {"prompt_token_ids": [number + 10] * 64}, params)
    stop = threading.Event()
    listener = threading.Thread(target=_listen, args=(llm, stop), daemon=True)
    if way in ("listened to", "polled"):
        listener.start()
    took: list[float] = []
    polled_at = ranks_at = time.monotonic()
    while llm.llm_engine.has_unfinished_requests():
        began = time.perf_counter()
        llm.llm_engine.step()
        now = time.monotonic()
        if way == "polled" and now - polled_at > 0.1:
            polled_at = now
            publisher_of(engine_core(llm)).next(0, now=True)
        if way == "polled" and now - ranks_at > 5.0:
            ranks_at = now
            core.unfrag_ranks(engine_core(llm))
        took.append(time.perf_counter() - began)
    stop.set()
    if listener.is_alive():
        listener.join()
    return statistics.fmean(sorted(took)[len(took) // 10 : -len(took) // 10])


def _listen(llm: Any, stop: threading.Event) -> None:
    seen = 0
    while not stop.is_set():
        seen, _ = publisher_of(engine_core(llm)).next(seen, now=False).result()


def calls(repeats: int) -> dict[str, float]:
    longest: dict[str, list[float]] = {"evict": [], "map": [], "check": []}
    manager = a_manager(LARGE, 16)
    pool = manager.block_pool
    engine = SimpleNamespace(scheduler=SimpleNamespace(kv_cache_manager=manager, running=[]))
    for _ in range(repeats):
        for block in pool.blocks[1:]:
            block._block_hash = b"%d" % block.block_id
            pool.cached_block_hash_to_block.insert(block._block_hash, block)
        longest["map"].append(_slices(lambda place: map_slice(engine.scheduler, place, core._MAP_BLOCKS)["next"]))
        longest["check"].append(_slices(lambda place: integrity.check_slice(pool, [], place)[1]))
        longest["evict"].append(_slices(lambda place: core.unfrag_evict(engine, place)))
    return {name: round(statistics.median(values) * 1000, 1) for name, values in longest.items()}


def _slices(call: Any) -> float:
    """The longest one, in seconds."""
    place, longest = 0, 0.0
    while place is not None:
        began = time.perf_counter()
        place = call(place)
        longest = max(longest, time.perf_counter() - began)
    return longest


if __name__ == "__main__":
    main()
