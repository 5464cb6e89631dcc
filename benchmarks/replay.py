"""A trace through the replay's pool and through vLLM's whole KVCacheManager, in one run: hits, blocks, speed.

    python benchmarks/replay.py TRACE [--tokens 2000000] [--requests 1000000]

The manager builds real requests with real tokens, so it is slow; the replay asks the same pool for the same blocks.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.engine.manager import ManagerCache
from unfrag.engine.replay import PoolCache, read, simulate
from unfrag.plan.replay import UNIT

SAME = ("requests", "finished", "refused", "prompt_tokens", "hit_tokens", "preemptions", "most_running")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace")
    parser.add_argument("--tokens", type=int, default=2_000_000)
    parser.add_argument("--requests", type=int, default=1_000_000)
    args = parser.parse_args()
    answers = []
    for make in (PoolCache, ManagerCache):
        turns = read(args.trace, args.requests)
        started = time.process_time()
        answer = simulate(turns, make(args.tokens // UNIT, UNIT), 256, 20_000.0, 0.03, UNIT)
        minutes = (time.process_time() - started) / 60
        print(f"{make.__name__}: {len(turns) / minutes:,.0f} requests/min, hit rate {answer['hit_rate']:.6f}")
        answers.append(answer)
    ours, theirs = answers
    for key in SAME:
        print(f"{key}: {ours[key]:,} and {theirs[key]:,}{'' if ours[key] == theirs[key] else '   DIFFERENT'}")
    return 0 if all(ours[key] == theirs[key] for key in SAME) else 1


if __name__ == "__main__":
    sys.exit(main())
