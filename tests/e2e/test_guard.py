"""A guard at work on a real server under a real supervisord, and faults that are real: the right thing, in time."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import subprocess
import sys
import threading

import httpx
import psutil
import pytest

from tests.conftest import SMALL_POOL
from tests.waiting import until
from unfrag.rig.environment import SERVED_NAME
from unfrag.rig.server import Rig

POLICY = {
    "interval": 1.0,
    "start_seconds": 120.0,
    "hang_seconds": 6.0,
    "memory_seconds": 3.0,
    "flushed_but_full_seconds": 4.0,
    "memory_above_baseline": 0.0,
    "restarts_an_hour": 100,
    "largest_free_block": 0,
    "largest_seconds": 2.0,
    "flush_cool_down": 5.0,
    "drain_seconds": 20.0,
    "nightly": "",
}


@pytest.fixture(scope="module")
def rig():
    with Rig(SMALL_POOL) as rig:
        rig.wait_ready()
        yield rig


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
            assert self.process.wait(30) == 0

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
        return [(line["event"], line["rule"], line["outcome"]) for line in self.lines() if line["event"] != "seen"]

    def remembered(self):
        (file,) = self.state.glob("*.json")
        return json.loads(file.read_text())


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


def served_again(rig, guard, before):
    until(lambda: rig.launcher.status().pid not in (0, before) and healthy(rig))
    assert complete(rig).status_code == 200
    until(lambda: guard.remembered()["rule"] == "healthy")


@pytest.mark.parametrize(
    ("fault", "rules"),
    [
        pytest.param(lambda rig: processes(rig)[1].kill(), {"dead", "ended", "refused"}, marks=pytest.mark.slow),
        (lambda rig: processes(rig)[1].suspend(), {"stuck"}),
        pytest.param(lambda rig: processes(rig)[0].suspend(), {"silent"}, marks=pytest.mark.slow),
    ],
    ids=["engine killed", "engine stopped while /health says 200", "API server hung"],
)
def test_a_server_that_serves_nobody_is_restarted_once(rig, tmp_path, fault, rules):
    with Guard(rig, tmp_path) as guard:
        until(lambda: guard.remembered()["rule"] == "healthy")
        before = rig.launcher.status().pid
        fault(rig)
        until(lambda: guard.lines("restart"), 40)
        served_again(rig, guard, before)
    ((action, rule, outcome),) = guard.actions()
    assert (action, outcome) == ("restart", "done")
    assert rule in rules


@pytest.mark.slow
def test_a_guard_that_was_killed_in_the_middle_of_a_restart_is_carried_on(rig, tmp_path):
    with Guard(rig, tmp_path) as guard:
        until(lambda: guard.remembered()["rule"] == "healthy")
        before = rig.launcher.status().pid
        processes(rig)[0].suspend()  # it takes supervisord ten seconds to stop one that hears no signal
        until(lambda: guard.remembered()["acting"])
        guard.killed()
    with Guard(rig, tmp_path) as guard:
        served_again(rig, guard, before)
        assert guard.remembered()["acting"] is None
    assert guard.lines("restart")[-1]["outcome"] == "done"


def test_a_busy_server_is_left_alone(rig, tmp_path):
    stop = threading.Event()
    answers = []

    def load():
        while not stop.is_set():
            answers.append(complete(rig, tokens=200, prompt="busy " * 150, timeout=120).status_code)

    threads = [threading.Thread(target=load) for _ in range(24)]
    with Guard(rig, tmp_path) as guard:
        for thread in threads:
            thread.start()
        try:
            until(lambda: len(answers) > 60)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert guard.actions() == []
    assert set(answers) == {200}


@pytest.mark.slow
def test_memory_above_its_limit_is_flushed_then_drained_and_restarted(rig, tmp_path):
    resident = httpx.get(f"{rig.url}/health?fresh=true", trust_env=False).json()["memory_stats"]["ranks"][0][
        "resident_bytes"
    ]
    before = rig.launcher.status().pid
    running = threading.Thread(target=lambda: answers.append(complete(rig, tokens=300).status_code))
    answers = []
    with Guard(rig, tmp_path, "--memory-limit", str(resident // 2)) as guard:
        until(lambda: guard.lines("flush"))
        until(lambda: guard.remembered()["state"]["since"].get("memory"))
        running.start()
        until(lambda: guard.lines("drain and restart"))
        running.join()
        until(lambda: rig.launcher.status().pid not in (0, before) and healthy(rig))
    assert answers == [200], "who was in was served to the end"
    assert guard.actions()[0] == ("flush", "memory", "done")
    assert ("drain and restart", "memory", "done") in guard.actions()
    assert "drained" in guard.lines("drain and restart")[0]["result"]


@pytest.mark.slow
def test_a_configuration_that_never_comes_up_ends_with_one_page(rig, tmp_path):
    good = rig.config.read_bytes()
    told = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    hook = http.server.HTTPServer(("127.0.0.1", 0), Hook)  # it listens, but nobody answers yet: a webhook that hangs
    before = rig.launcher.status().pid
    try:
        with Guard(rig, tmp_path, "--webhook", f"http://127.0.0.1:{hook.server_port}/", restarts_an_hour=2) as guard:
            until(lambda: guard.remembered()["rule"] == "healthy")
            rig.config.write_bytes(good.replace(b"--block-size 32", b"--block-size banana"))
            processes(rig)[0].kill()
            until(lambda: guard.lines("page"))
            threading.Thread(target=hook.serve_forever, daemon=True).start()
            until(lambda: any(message["action"] == "page" for message in told))
            rig.config.write_bytes(good)
            rig.launcher.restart()
            served_again(rig, guard, before)
        assert [line["rule"] for line in guard.lines("restart", "page")] == ["ended", "ended", "budget"]
        assert "2 restarts in the last hour" in guard.lines("page")[0]["why"]
    finally:
        hook.shutdown()
        rig.config.write_bytes(good)


@pytest.mark.slow
def test_a_full_disk_for_its_log_stops_nobody(rig, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(small)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with contextlib.suppress(OSError), (small / "ballast").open("wb") as ballast:
            ballast.write(b"x" * 65536)
        guard = Guard(rig, tmp_path, "--log", str(small / "audit.jsonl"))
        with guard:
            until(lambda: guard.remembered()["rule"] == "healthy")
            before = rig.launcher.status().pid
            processes(rig)[0].kill()
            served_again(rig, guard, before)
            (small / "ballast").unlink()
            guard.log = small / "audit.jsonl"
            before = rig.launcher.status().pid
            processes(rig)[0].kill()
            served_again(rig, guard, before)
        assert guard.lines()[0]["lost_lines"] >= 2
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.slow
def test_two_guards_do_not_act_twice(rig, tmp_path):
    first = Guard(rig, tmp_path)
    with first, Guard(rig, tmp_path) as second:
        until(lambda: first.remembered()["rule"] == "healthy")
        before = rig.launcher.status().pid
        processes(rig)[0].kill()
        served_again(rig, first, before)
        assert len(first.lines("restart")) == 1
        first.killed()
        before = rig.launcher.status().pid
        processes(rig)[0].kill()
        served_again(rig, second, before)
        assert len(second.lines("restart")) == 2


def test_status_says_whether_a_guard_is_at_work(rig, tmp_path):
    command = [sys.executable, "-m", "unfrag", "guard", "status"]
    with Guard(rig, tmp_path) as guard:
        until(lambda: guard.remembered()["rule"] == "healthy")
        done = subprocess.run(command, env=guard._env, capture_output=True, text=True, check=False)
        assert done.returncode == 0
        assert "healthy" in done.stdout
    done = subprocess.run(command, env=guard._env, capture_output=True, text=True, check=False)
    assert (done.returncode, "NOT guarded" in done.stdout) == (1, True)
