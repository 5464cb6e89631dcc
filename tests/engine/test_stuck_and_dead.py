"""An engine that hangs, and one that dies: what /health and /flush_cache say then."""

import signal

import httpx
import pytest

from tests.conftest import SMALL_POOL
from tests.waiting import until
from unfrag.rig.server import Rig


@pytest.fixture(scope="module")
def doomed():
    with Rig(SMALL_POOL) as rig:
        rig.wait_ready()
        yield rig


def engine_core(rig):
    (process,) = [p for p in rig.processes() if "EngineCore" in "".join(p.cmdline())]
    return process


def health(rig):
    return httpx.get(f"{rig.url}/health", timeout=5, trust_env=False)


def test_a_stuck_engine_is_seen_by_its_age_while_health_stays_200(doomed):
    process = engine_core(doomed)
    process.send_signal(signal.SIGSTOP)
    try:
        answer = until(lambda: (a := health(doomed)).json()["memory_stats"]["age_seconds"] > 1.5 and a)
        assert answer.status_code == 200
        assert answer.elapsed.total_seconds() < 1.0
        assert answer.json()["memory_stats"]["total_blocks"] == 256
    finally:
        process.send_signal(signal.SIGCONT)
    until(lambda: health(doomed).json()["memory_stats"]["age_seconds"] < 0.5)


def test_a_dead_engine_is_503_on_both_routes(doomed):
    """vLLM ends its API server soon after; until then it must say so."""
    engine_core(doomed).kill()
    answer = until(lambda: (a := health(doomed)).status_code == 503 and a)
    assert answer.json()["status"] == "dead"
    flush = httpx.post(f"{doomed.url}/flush_cache", timeout=5, trust_env=False)
    assert flush.status_code == 503
    assert "dead" in flush.json()["error"]
