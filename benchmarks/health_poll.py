"""What polling ``/health`` ten times a second costs the server's throughput.

Real vLLM on the rig under a steady load of its own (decode and prefill mixed). Segments without (A) and with (B) a
poller follow each other as A B B A, so that a drift of the machine cancels; throughput is vLLM's own token counters.
The poller runs on the same cores, so its own cost is counted too. Prints JSON: the median of the rounds' ratios and
their spread.

    python benchmarks/health_poll.py [--rounds 20] [--seconds 3] [--hertz 10]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx

from unfrag.rig.environment import SERVED_NAME
from unfrag.rig.server import Rig

_IN_FLIGHT = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--hertz", type=float, default=10.0)
    args = parser.parse_args()
    with Rig({"--block-size": "32", "--num-gpu-blocks-override": "2305"}) as rig:
        rig.wait_ready()
        stop = threading.Event()
        with ThreadPoolExecutor(_IN_FLIGHT) as clients:
            running = [clients.submit(_ask_for_ever, rig.url, seed, stop) for seed in range(_IN_FLIGHT)]
            try:
                _throughput(rig.url, args.seconds, None)  # warm-up
                rounds = [_round(rig.url, args.seconds, args.hertz) for _ in range(args.rounds)]
            finally:
                stop.set()
        for client in running:
            client.result()
    ratios = sorted(polled / plain for plain, polled, _ in rounds)
    quarter = len(ratios) // 4
    print(
        json.dumps(
            {
                "hertz": args.hertz,
                "rounds": len(rounds),
                "polls": sum(polls for *_, polls in rounds),
                "tokens_per_second_without": statistics.median(plain for plain, *_ in rounds),
                "tokens_per_second_with": statistics.median(polled for _, polled, _ in rounds),
                "ratio_median": statistics.median(ratios),
                "ratio_mean": statistics.fmean(ratios),
                "ratio_standard_error": statistics.stdev(ratios) / len(ratios) ** 0.5,
                "ratio_quartiles": [ratios[quarter], ratios[-1 - quarter]],
                "ratio_range": [ratios[0], ratios[-1]],
            },
            indent=1,
        )
    )


def _round(url: str, seconds: float, hertz: float) -> tuple[float, float, int]:
    """(tokens/s without polling, with, polls made) of one A B B A."""
    first, _ = _throughput(url, seconds, None)
    second, some = _throughput(url, seconds, hertz)
    third, more = _throughput(url, seconds, hertz)
    fourth, _ = _throughput(url, seconds, None)
    return (first + fourth) / 2, (second + third) / 2, some + more


def _throughput(url: str, seconds: float, hertz: float | None) -> tuple[float, int]:
    poller = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)  # cheap: the server's cost is the question
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as server, contextlib.closing(poller):
        started, before, polls = time.monotonic(), _tokens(server), 0
        due = started
        while (now := time.monotonic()) < started + seconds:
            if hertz is None:
                time.sleep(started + seconds - now)
                continue
            poller.request("GET", "/health")
            answer = poller.getresponse()
            answer.read()
            assert answer.status == 200
            polls += 1
            due = max(due + 1 / hertz, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
        return (_tokens(server) - before) / (time.monotonic() - started), polls


def _tokens(server: httpx.Client) -> float:
    """Prompt and generated tokens so far."""
    wanted = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")
    lines = server.get("/metrics", follow_redirects=True).text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(wanted))


def _ask_for_ever(url: str, seed: int, stop: threading.Event) -> None:
    with httpx.Client(base_url=url, timeout=120, trust_env=False) as server:
        while not stop.is_set():
            seed += 1000
            prompt = [10 + (seed * 7919 + i * 104729) % 8000 for i in range(200)]
            body = {"model": SERVED_NAME, "prompt": prompt, "max_tokens": 64, "ignore_eos": True}
            server.post("/v1/completions", json=body).raise_for_status()


if __name__ == "__main__":
    main()
