"""What compacting a busy server costs its users: gaps between tokens, with a flush and without, in one run.

    python benchmarks/compaction.py [--rounds 10] [--pool stock|contiguous]

A rig with 32 requests in flight in a pool that is 80% full, prefix caching on. In every second window
``POST /flush_cache`` drops cached blocks and moves the blocks in use together; in the others it only drops cached
blocks, so that the difference is what moving costs.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import threading
import time

import httpx

from unfrag.rig.environment import SERVED_NAME
from unfrag.rig.server import Rig

IN_FLIGHT, BLOCKS, WINDOW_SECONDS = 32, 1361, 3.0


class Crowd:
    """32 clients that stream answers, one after another, and note when each token came."""

    def __init__(self, url: str) -> None:
        self.url, self.gaps, self.stop = url, [], threading.Event()
        self.failed = 0
        self._threads = [threading.Thread(target=self._talk, args=(i,), daemon=True) for i in range(IN_FLIGHT)]
        for thread in self._threads:
            thread.start()

    def _talk(self, number: int) -> None:
        chance = random.Random(number)
        documents = [[random.Random(d).randrange(10, 8000) for _ in range(400)] for d in range(8)]
        with httpx.Client(timeout=120, trust_env=False) as client:
            while not self.stop.is_set():
                own = [chance.randrange(10, 8000) for _ in range(chance.randrange(700, 1100))]
                body = {
                    "model": SERVED_NAME,
                    "prompt": chance.choice(documents) + own,
                    "max_tokens": chance.randrange(60, 300),
                    "ignore_eos": True,
                    "temperature": 0,
                    "stream": True,
                }
                last = None
                try:
                    with client.stream("POST", f"{self.url}/v1/completions", json=body) as answer:
                        for line in answer.iter_lines():
                            if line.startswith("data: {") and '"text"' in line:
                                now = time.monotonic()
                                if last is not None:
                                    self.gaps.append((now, now - last))
                                last = now
                            if self.stop.is_set():
                                return
                except httpx.HTTPError:
                    self.failed += 1

    def between(self, start: float, end: float) -> list[float]:
        return [gap for at, gap in list(self.gaps) if start <= at < end]

    def end(self) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join(timeout=30)


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--pool", choices=("stock", "contiguous"), default="stock")
    args = parser.parse_args()
    flags = {"--block-size": "32", "--num-gpu-blocks-override": str(BLOCKS), "--max-num-seqs": str(IN_FLIGHT)}
    with Rig(flags, env={"UNFRAG_POOL": args.pool}) as rig:
        rig.wait_ready()
        crowd = Crowd(rig.url)
        time.sleep(15)
        ratios = []
        for round_number in range(args.rounds):
            seen = {}
            for compact in (False, True) if round_number % 2 else (True, False):
                start = time.monotonic()
                url = f"{rig.url}/flush_cache?allocator=false&compact={str(compact).lower()}"
                flushed = httpx.post(url, timeout=60, trust_env=False).json()
                took = time.monotonic() - start
                time.sleep(max(0.0, WINDOW_SECONDS - took))
                seen[compact] = p95(crowd.between(start, start + WINDOW_SECONDS))
                if compact:
                    before, after, moved = flushed["before"], flushed["after"], flushed["compaction"]
                    seconds = took
            ratios.append(seen[True] / seen[False])
            print(
                f"usage {before['gpu_cache_usage']:.0%}  fragmentation {before['fragmentation_ratio']:.2f} -> "
                f"{after['fragmentation_ratio']:.3f}  moved {moved['live']}  in {seconds:.2f} s"
                f"  P95 gap {seen[True] * 1000:.0f} ms, without {seen[False] * 1000:.0f} ms",
                flush=True,
            )
        state = httpx.get(f"{rig.url}/plugins/unfrag/map.json", timeout=30, trust_env=False).json()
        crowd.end()
    quartiles = statistics.quantiles(ratios, n=4)
    print(json.dumps({"median_ratio": statistics.median(ratios), "quartiles": quartiles, "failed": crowd.failed}))
    print(f"violations: {state[0]['violations']}")


if __name__ == "__main__":
    main()
