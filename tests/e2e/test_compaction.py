"""Compaction of a server that is busy, asked for over HTTP, while clients come and go."""

from __future__ import annotations

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.waiting import until
from unfrag.rig.environment import SERVED_NAME
from unfrag.rig.server import Rig

CLIENTS = 32
FLAGS = {"--block-size": "32", "--num-gpu-blocks-override": "801", "--max-num-seqs": str(CLIENTS)}


@pytest.fixture(params=["stock", pytest.param("contiguous", marks=pytest.mark.slow)])
def busy(request):
    with Rig(FLAGS, env={"UNFRAG_POOL": request.param}) as rig:
        rig.wait_ready()
        yield rig, request.param


def talk(url, number, stop):
    """Streams answers one after another; every third client hangs up in the middle. How many answers were whole."""
    chance, whole = random.Random(number), 0
    documents = [[random.Random(d).randrange(10, 8000) for _ in range(400)] for d in range(8)]
    with httpx.Client(timeout=120, trust_env=False) as client:
        while not stop.is_set():
            length = chance.randrange(60, 200)
            own = [chance.randrange(10, 8000) for _ in range(chance.randrange(200, 500))]
            body = {"model": SERVED_NAME, "prompt": chance.choice(documents) + own, "max_tokens": length}
            body |= {"ignore_eos": True, "temperature": 0, "stream": True, "stream_options": {"include_usage": True}}
            tokens = 0
            with client.stream("POST", f"{url}/v1/completions", json=body) as answer:
                assert answer.status_code == 200
                said = {}
                for line in answer.iter_lines():
                    tokens += line.startswith("data: {")
                    said = json.loads(line[6:]) if line.startswith("data: {") else said
                    if number % 3 == 0 and tokens > length // 3:
                        break
                else:
                    assert said["usage"]["completion_tokens"] == length
                    whole += 1
    return whole


def memory(url):
    return httpx.get(f"{url}/health?fresh=true", timeout=30, trust_env=False).json()["memory_stats"]


@pytest.mark.slow
def test_a_flush_makes_a_busy_pool_whole_and_loses_nobody(busy):
    rig, pool = busy
    stop = threading.Event()
    flushes = []
    with ThreadPoolExecutor(CLIENTS) as clients:
        talking = [clients.submit(talk, rig.url, number, stop) for number in range(CLIENTS)]
        try:
            until(lambda: memory(rig.url)["steps"] > 300, seconds=120)
            for _ in range(10):
                until(lambda: memory(rig.url)["fragmentation_ratio"] > 0.3, seconds=60)
                flushed = httpx.post(f"{rig.url}/flush_cache", timeout=60, trust_env=False).json()
                flushes.append(flushed)
                assert flushed["compaction"]["why"] is None
                assert flushed["after"]["fragmentation_ratio"] <= 0.05
        finally:
            stop.set()
    assert flushes[0]["before"]["pool"] == pool
    assert sum(flushed["compaction"]["live"] for flushed in flushes) >= 200
    assert sum(client.result() for client in talking) >= CLIENTS
    until(lambda: memory(rig.url)["pinned_blocks"] == 0, seconds=30)
    (state,) = httpx.get(f"{rig.url}/plugins/unfrag/map.json", timeout=30, trust_env=False).json()
    assert state["violations"] == []
    assert sum(length for _, length in state["blocks"]) == 801
