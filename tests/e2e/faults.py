"""Real faults of a server on a rig, for the tests of the guard: what breaks, and whom it should wake."""

from __future__ import annotations

import contextlib
import time

import httpx
import psutil

from tests.clients import Clients
from unfrag.launchers.supervisor.rpc import Supervisord
from unfrag.rig.environment import SERVED_NAME


def healthy(rig):
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{rig.url}/health", timeout=5, trust_env=False).status_code == 200
    return False


def complete(rig, tokens=4, prompt="a b c", timeout=60):
    body = {"model": SERVED_NAME, "prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
    return httpx.post(f"{rig.url}/v1/completions", json=body, timeout=timeout, trust_env=False)


def processes(rig):
    """(API server, engine core)."""
    server = psutil.Process(rig.launcher.status().pid)
    engine = next(p for p in server.children(recursive=True) if "EngineCore" in p.name() + " ".join(p.cmdline()))
    return server, engine


def worker(rig):
    """One of the ranks, which are processes of their own when there is more than one."""
    _, engine = processes(rig)
    return next(p for p in engine.children(recursive=True) if "Worker" in p.name() + " ".join(p.cmdline()))


def restart_supervisord(rig):
    """As `supervisorctl reload`: it stops everything, reads its files anew, and starts what starts by itself."""
    Supervisord(rig.server).call("restart")


class Load(Clients):
    """Clients that ask without a pause, each waiting for its answer. What was asked, when, and what came of it.

    A client that is refused (503, or nobody listens) asks again after a moment, as clients behind a balancer do.
    """

    def __init__(self, rig, clients=8, tokens=(16, 40, 64, 88, 112), words=(20, 60, 100, 140, 180)):
        self._rig, self._tokens, self._words = rig, tokens, words
        super().__init__(clients)
        self.asked: list[tuple[float, float, str]] = []
        """Begun, ended, and ``served``, ``refused`` (503 with Retry-After), ``cut: why`` or another status."""

    def served(self):
        """How many so far."""
        return sum(came == "served" for _, _, came in self.asked)

    def run(self, number):
        body = {"model": SERVED_NAME, "temperature": 0, "ignore_eos": True}
        # A connection for each: a server closes one that is idle for 5 s, and a starved client may be that late.
        limits = httpx.Limits(max_keepalive_connections=0)
        with httpx.Client(trust_env=False, timeout=120, limits=limits) as client:
            asked = 0
            while self.going:
                asked += 1
                begun = time.monotonic()
                try:
                    tokens = self._tokens[7 * asked % len(self._tokens)]
                    prompt = f"{number} {asked} " + "load " * self._words[3 * asked % len(self._words)]
                    asks = {**body, "max_tokens": tokens, "prompt": prompt}
                    came = self._judge(client.post(f"{self._rig.url}/v1/completions", json=asks), tokens)
                except httpx.ConnectError:
                    came = "nobody"
                except (httpx.HTTPError, ValueError, LookupError) as fault:
                    came = f"cut: {fault!r}"
                self.asked.append((begun, time.monotonic(), came))
                if came != "served":
                    self.pause(0.2)

    def _judge(self, answer, tokens):
        if answer.status_code == 503 and "retry-after" in answer.headers:
            return "refused"
        if answer.status_code != 200:
            return str(answer.status_code)
        return "served" if answer.json()["usage"]["completion_tokens"] == tokens else "short"
