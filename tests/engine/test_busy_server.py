"""A server of two API servers under load: what it says is of now, it is no case for a restart, and it drains as one."""

from __future__ import annotations

import signal

import httpx
import pytest

from tests.clients import Clients
from tests.conftest import SMALL_POOL
from tests.engine.test_server import prompt
from tests.waiting import until
from unfrag.doctor import collect, diagnosis
from unfrag.doctor.rules.thresholds import load_thresholds
from unfrag.rig.environment import SERVED_NAME
from unfrag.rig.server import Rig
from unfrag.server.client import Server


@pytest.fixture(scope="module")
def busy():
    with Rig({**SMALL_POOL, "--api-server-count": "2"}) as rig:
        rig.wait_ready()
        yield rig


def ask(rig, path, method="GET", **more):
    """On a connection of its own, so that either API server may take it."""
    return httpx.request(method, rig.url + path, timeout=30, trust_env=False, **more)


def complete(rig, number=1, tokens=8):
    body = {
        "model": SERVED_NAME,
        "prompt": prompt(number, 60),
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
    }
    return ask(rig, "/v1/completions", "POST", json=body)


class Load(Clients):
    """Clients that ask without a pause. ``refused`` counts answers of 503."""

    def __init__(self, rig, clients):
        super().__init__(clients)
        self._rig = rig
        self.served = self.refused = 0

    def run(self, number):
        while self.going:
            number += 101
            status = complete(self._rig, number, 20 + number % 7 * 30).status_code
            self.served += status == 200
            self.refused += status == 503


def test_under_load_a_first_poll_is_as_young_as_any_other(busy):
    """Nobody polls before it: the engine publishes by itself."""
    with Load(busy, 24) as load:
        for goal in (40, 80, 120):
            until(lambda goal=goal: load.served >= goal)
            with Server(busy.url) as server:
                pool, metrics = server.pool(), server.metrics()
            assert pool.age_seconds < 2
            assert metrics.running > 4
            assert abs(pool.gpu_cache_usage - metrics.kv_cache_usage) < 0.25
        found = diagnosis.diagnose(collect.live(collect.Asked(busy.url)), load_thresholds()).findings
        assert "engine_stalled" not in [finding.cause for finding in found]
        assert ask(busy, "/plugins/unfrag/live").json() == {"status": "ok"}
        assert ask(busy, "/plugins/unfrag/live", params={"seconds": 5}).status_code == 200


def test_a_drain_closes_every_api_server_and_opens_again(busy):
    assert complete(busy).status_code == 200
    assert ask(busy, "/plugins/unfrag/drain", "POST", params={"seconds": 60}).status_code == 200
    until(lambda: [complete(busy).status_code for _ in range(10)] == [503] * 10, seconds=10)
    answer = complete(busy)
    assert answer.status_code == 503
    assert 0 < int(answer.headers["retry-after"]) <= 60
    assert ask(busy, "/plugins/unfrag/drain", "POST", params={"seconds": 0}).status_code == 200
    until(lambda: [complete(busy).status_code for _ in range(10)] == [200] * 10, seconds=10)


def test_an_engine_that_stands_still_is_told_by_the_probe(busy):
    (engine,) = [p for p in busy.processes() if "EngineCore" in "".join(p.cmdline())]
    engine.send_signal(signal.SIGSTOP)
    try:
        answer = until(lambda: (a := ask(busy, "/plugins/unfrag/live", params={"seconds": 3})).status_code == 503 and a)
        assert "taken no call" in answer.json()["why"]
        assert ask(busy, "/plugins/unfrag/live").status_code == 200, "vLLM's own limit is not reached"
    finally:
        engine.send_signal(signal.SIGCONT)
    until(lambda: ask(busy, "/plugins/unfrag/live", params={"seconds": 3}).status_code == 200)
