"""`unfrag guard` as a process, for the tests that watch it at work."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.e2e.faults import complete, healthy
from tests.waiting import until

POLICY = {
    "interval": 1.0,
    "start_seconds": 120.0,
    "hang_seconds": 6.0,
    "memory_seconds": 3.0,
    "released_but_full_seconds": 4.0,
    "busy_seconds": 60.0,
    "memory_above": 0.0,
    "settle_seconds": 0.0,
    "restarts_an_hour": 100,
    "most_restarts_an_hour": 100,
    "again_seconds": 2.0,
    "largest_free_block": 0,
    "largest_seconds": 2.0,
    "flush_cool_down": 5.0,
    "drain_seconds": 20.0,
    "nightly": "",
    "doctor_seconds": 5.0,
}


ACTIONS = ("compact", "flush", "release", "restart", "drain and restart", "page")


class Guard:
    """`unfrag guard` in a process of its own, and what it wrote down."""

    def __init__(self, rig, folder, *words, **policy):
        self.rig, self.log = rig, folder / "audit.jsonl"
        (folder / "policy.toml").write_text("\n".join(f"{k} = {json.dumps(v)}" for k, v in (POLICY | policy).items()))
        self._command = [sys.executable, "-m", "unfrag", "guard", "--config", str(rig.config), "--server", rig.server]
        self._command += ["--policy", str(folder / "policy.toml"), "--log", str(self.log), *words]
        self._env = {**os.environ, "UNFRAG_STATE": str(folder / "state")}
        self.state = folder / "state" / "guard"

    def __enter__(self):
        self.process = subprocess.Popen(self._command, env=self._env)
        until(lambda: any(self.state.glob("*.json")))
        return self

    def __exit__(self, *_):
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(180) == 0

    def killed(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def lines(self, *events):
        if not self.log.exists():
            return []
        found = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in found if not events or line["event"] in events]

    def actions(self):
        return [(line["event"], line["rule"], line["outcome"]) for line in self.lines(*ACTIONS)]

    def has_seen_it_healthy(self, since):
        """Polled by this process: what it remembers may be an earlier guard's."""
        found = self.remembered()
        return found["rule"] == "healthy" and (found["state"]["last_poll"] or 0) >= since

    def remembered(self):
        (file,) = self.state.glob("*.json")
        return json.loads(file.read_text())


def served_again(rig, guard, before):
    until(lambda: rig.launcher.status().pid not in (0, before) and healthy(rig))
    assert complete(rig).status_code == 200
    until(lambda: guard.remembered()["rule"] == "healthy")
