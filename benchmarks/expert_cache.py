"""What the expert-route cache does to the time to first token: the same requests to a server with it and one without.

    python benchmarks/expert_cache.py [--rounds 5]

Two rigs side by side, asked in turns (A B, then B A), so that a busy machine slows both. Two loads: 100 requests over
10 prefixes of 1,200 tokens that the KV pool cannot keep, and 100 requests of which no two share anything. A round's
figure is the median TTFT with the cache over that without; told are the median of the rounds and their spread, next to
that of two servers without the cache, which is the noise of this machine.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time

import httpx

from unfrag.rig.environment import SERVED_NAME
from unfrag.rig.server import Rig

FLAGS = {"--max-model-len": "2048", "--block-size": "32", "--num-gpu-blocks-override": "70", "--max-num-seqs": "4"}
PREFIX, OWN, NUMBER, PREFIXES = 1200, 16, 100, 10


def repeated(seed: int) -> list[list[int]]:
    rng = random.Random(1)  # the same prefixes in every round, so each but the first has seen them
    shared = [[rng.randrange(10, 8000) for _ in range(PREFIX)] for _ in range(PREFIXES)]
    own = random.Random(seed)
    return [shared[i % PREFIXES] + [own.randrange(10, 8000) for _ in range(OWN)] for i in range(NUMBER)]


def unlike(seed: int) -> list[list[int]]:
    rng = random.Random(1000 + seed)
    return [[rng.randrange(10, 8000) for _ in range(PREFIX + OWN)] for _ in range(NUMBER)]


def ttft(client: httpx.Client, prompt: list[int]) -> float:
    """Seconds until the first token."""
    body = {"model": SERVED_NAME, "prompt": prompt, "max_tokens": 4, "temperature": 0, "stream": True}
    started = time.perf_counter()
    first = None
    with client.stream("POST", "/v1/completions", json=body) as answer:
        for line in answer.iter_lines():
            if first is None and line.startswith("data: {"):
                first = time.perf_counter() - started
    assert first is not None
    return first


def compare(one: httpx.Client, other: httpx.Client, prompts: list[list[int]]) -> float:
    """Median over the requests of the second server's TTFT over the first's."""
    ratios = []
    for i, prompt in enumerate(prompts):
        if i % 2:
            a, b = ttft(one, prompt), ttft(other, prompt)
        else:
            b, a = ttft(other, prompt), ttft(one, prompt)
        ratios.append(b / a)
    return statistics.median(ratios)


def served(client: httpx.Client) -> dict:
    return (client.get("/plugins/unfrag/experts").raise_for_status().json())[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    off, on = {"UNFRAG_EXPERT_CACHE": "off"}, {"UNFRAG_EXPERT_CACHE": "on"}
    for name, env in (("cache on / off", on), ("off / off (noise)", off)):
        with Rig(FLAGS, env=off) as a, Rig(FLAGS, env=env) as b:
            a.wait_ready()
            b.wait_ready()
            with (
                httpx.Client(base_url=a.url, timeout=60, trust_env=False) as one,
                httpx.Client(base_url=b.url, timeout=60, trust_env=False) as other,
            ):
                for load in (repeated, unlike):
                    compare(one, other, load(-1))  # warm, and every prefix seen once
                    before = served(other) if env is on else None
                    ratios = [compare(one, other, load(seed)) for seed in range(rounds)]
                    figure = f"median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}"
                    print(f"{name}, {load.__name__} prompts: TTFT {figure} over {rounds} rounds of {NUMBER} requests")
                    if before is not None:
                        after = served(other)
                        rows = {key: after[key] - before[key] for key in ("served_rows", "computed_rows", "flips")}
                        print("  " + json.dumps(rows))


if __name__ == "__main__":
    main()
