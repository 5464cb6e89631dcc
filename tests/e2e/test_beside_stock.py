"""The same faults on two servers of two ranks, stock vLLM and one with unfrag, both polled ten times a second.

No engine may be lost that stock would have kept, and none be kept alive that stock would have ended.
"""

from __future__ import annotations

import contextlib
import os
import random
import time

import httpx
import pytest

from tests.clients import Clients
from tests.conftest import SMALL_POOL
from tests.e2e import faults
from tests.waiting import until
from unfrag.rig.server import Rig
from unfrag.server.vllm_plugins import VARIABLE

pytestmark = pytest.mark.slow

SEED = 20261125
SECONDS = float(os.environ.get("UNFRAG_FAULT_SECONDS", "1800"))
STEP_LIMIT = 10  # seconds that vLLM gives a step; 300 unless told otherwise
ENV = {"VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": str(STEP_LIMIT)}


class Polls(Clients):
    """``/health`` ten times a second, and what it said."""

    def __init__(self, rig):
        super().__init__(1)
        self._rig = rig
        self.answers = 0

    def run(self, number):
        with httpx.Client(trust_env=False, timeout=2) as client:
            while self.going:
                with contextlib.suppress(httpx.HTTPError):
                    self.answers += client.get(f"{self._rig.url}/health").status_code == 200
                self.pause(0.1)


def worker_killed(rig):
    faults.worker(rig).kill()


def engine_killed(rig):
    faults.processes(rig)[1].kill()


def worker_stopped_for_a_moment(rig):
    worker = faults.worker(rig)
    worker.suspend()
    until(lambda: worker.status() == "stopped")
    begun = time.monotonic()
    until(lambda: time.monotonic() - begun > STEP_LIMIT / 3)
    worker.resume()


def worker_stopped_for_good(rig):
    faults.worker(rig).suspend()


def flushed(rig):
    httpx.post(f"{rig.url}/flush_cache", timeout=60, trust_env=False)


FAULTS = (worker_killed, engine_killed, worker_stopped_for_a_moment, worker_stopped_for_good, flushed)


def is_over(rig):
    """Did the engine end? Seconds until its API server was gone or said 503; None: it serves on."""
    begun = time.monotonic()
    served_at = None
    while time.monotonic() - begun < 4 * STEP_LIMIT:
        try:
            if faults.complete(rig, timeout=2).status_code == 200:
                served_at = served_at or time.monotonic()
                if time.monotonic() - served_at > 2:
                    return None
                continue
        except httpx.TimeoutException:
            served_at = None
        except httpx.HTTPError:
            return time.monotonic() - begun
        if rig.launcher.status().failed or (served_at is None and _says_503(rig)):
            return time.monotonic() - begun
    return float("inf")


def _says_503(rig):
    try:
        return httpx.get(f"{rig.url}/health", timeout=2, trust_env=False).status_code == 503
    except httpx.ConnectError:
        return True
    except httpx.HTTPError:
        return False


def outcome(rig, fault):
    fault(rig)
    seconds = is_over(rig)
    if seconds is not None:
        for process in rig.processes():  # what a fault has stopped cannot end by itself
            if process.status() == "stopped":
                process.kill()
        rig.launcher.restart()
        rig.wait_ready()
    return "serves on" if seconds is None else "hangs" if seconds == float("inf") else "ends", seconds


def test_no_engine_is_lost_to_us_and_none_kept_that_vllm_would_have_ended(capsys):
    rng, end = random.Random(SEED), time.monotonic() + SECONDS
    seen: dict[str, dict[str, list]] = {}
    rounds = 0
    while time.monotonic() < end:
        order = rng.sample(FAULTS, len(FAULTS))
        for name, plugins in (("stock", {VARIABLE: ""}), ("unfrag", {})):
            with Rig(SMALL_POOL, env={**ENV, **plugins}, ranks=2) as rig:
                rig.wait_ready()
                with Polls(rig) as polls, faults.Load(rig, clients=2) as load:
                    for fault in order:
                        until(lambda: load.served() > 0)
                        came = outcome(rig, fault)
                        seen.setdefault(fault.__name__, {}).setdefault(name, []).append(came)
                        with capsys.disabled():
                            print(f"\n{name:7} {fault.__name__:28} {came[0]} {came[1] or 0:.0f} s", end="")
                assert polls.answers > 10
        rounds += 1
        assert_alike(seen)
    with capsys.disabled():
        print(f"\n{rounds} rounds of {len(FAULTS)} faults on each server")


def assert_alike(seen):
    for fault, came in seen.items():
        stock, ours = ({what for what, _ in came[name]} for name in ("stock", "unfrag"))
        assert ours <= stock, f"{fault}: stock {came['stock']}, with unfrag {came['unfrag']}"
