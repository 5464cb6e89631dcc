"""What one poll says, and what a guard says of a server that another guard watches."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from unfrag import cli
from unfrag.guard import audit, service
from unfrag.guard.memory import Memory, Remembered
from unfrag.guard.once import line
from unfrag.guard.policy import Policy
from unfrag.guard.state import NOTHING, Decision, Poll, State
from unfrag.guard.targets import Target
from unfrag.launchers import LaunchSpec, Status

URL = "http://127.0.0.1:9"
LABEL = "127.0.0.1:9"


class Launcher:
    """Says this state whenever it is asked, or fails."""

    def __init__(self, state):
        self._state = state

    def status(self):
        if self._state is None:
            raise RuntimeError("a fault of the guard's own")
        return Status(self._state, False, 0)

    def read(self):
        return LaunchSpec(Path("/etc/hostname"), b"", "glm_vllm", "vllm serve m", URL)


@pytest.fixture
def one_poll(tmp_path):
    """The line after so many looks at a server whose launcher says this; nothing is done."""

    def polls(state, count=1):
        log = audit.Audit(tmp_path / "log")
        target = Target(url="http://me:hunter2@127.0.0.1:9/")
        one = service.WatchedServer(target, Launcher(state), Policy(), tmp_path, log, lambda *_: None, True)
        with httpx.Client() as client:
            for _ in range(count):
                one.turn(client, threading.Event())
        return line(one, dry_run=True)

    return polls


@pytest.fixture
def other_guard(tmp_path, monkeypatch):
    """Another guard's lock on the same server, held by this process."""
    monkeypatch.setenv("UNFRAG_STATE", str(tmp_path))
    target = Target(url=URL)
    memory = Memory(tmp_path / "guard", target.label, target.identity)
    assert memory.elected()
    return memory


@pytest.mark.parametrize(
    ("state", "follows"),
    [
        ("RUNNING", "one poll is not enough to act"),
        ("STARTING", "one poll is not enough to act"),
        ("EXITED", "would restart (ended): its launcher says EXITED"),
        ("STOPPED", "stopped: somebody stopped it; it is left so"),
    ],
)
def test_one_poll_says_what_was_seen_and_what_follows(state, follows, one_poll):
    assert one_poll(state) == f"{LABEL}: nobody listens on {URL}; its launcher says {state}; {follows}"


@pytest.mark.parametrize(
    ("answers", "decided", "said"),
    [
        ("ok", NOTHING, f"{URL}/health answers 200; healthy"),
        (
            "ok",
            Decision("none", "stuck", "a debugger holds it"),
            f"{URL}/health answers 200; stuck: a debugger holds it",
        ),
        (
            "dead",
            Decision("restart", "dead", "why"),
            f"{URL}/health answers 503: its engine is dead; restart (dead): why",
        ),
        ("silent", Decision("none", "watching", "why"), f"{URL}/health does not answer 200 in time; one poll is not"),
    ],
)
def test_every_answer_is_said(answers, decided, said):
    remembered = Remembered(State(started_at=1.0))
    one = SimpleNamespace(
        target=Target(url=URL), fault="", last=Poll(2.0, answers), decided=decided, remembered=remembered
    )
    assert line(one, dry_run=False).startswith(f"{LABEL}: {said}")


def test_a_start_that_was_seen_before_has_a_time(one_poll):
    assert "starting: for " in one_poll("STARTING", 2)


def test_a_poll_that_failed_says_why(one_poll):
    assert one_poll(None).startswith(f"{LABEL}: the poll failed: RuntimeError(")


def test_without_a_launcher_it_is_the_answer_alone(tmp_path, capsys):
    assert cli.main(["guard", "--url", URL, "--log", str(tmp_path / "log"), "--once"]) == 0
    assert capsys.readouterr().out == f"{LABEL}: nobody listens on {URL}; one poll is not enough to act\n"


def test_what_another_guard_watches_is_not_looked_at(other_guard, tmp_path, capsys):
    assert cli.main(["guard", "--url", URL, "--log", str(tmp_path / "log"), "--once"]) == 0
    said = capsys.readouterr().out
    assert said == f"{LABEL}: another guard (pid {os.getpid()}) watches it, so nothing was looked at\n"
    assert other_guard.elected()


def test_a_guard_that_stands_by_says_so(other_guard, tmp_path):
    command = [sys.executable, "-m", "unfrag", "guard", "--url", URL, "--log", str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=-1, text=True) as process:
        said = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.communicate()
    watches = f"another guard (pid {os.getpid()}) watches {LABEL}; this one stands by and takes over when that ends"
    assert watches in said
    assert other_guard.elected()


def test_a_holder_that_did_not_say_who_it_is_is_not_named(tmp_path):
    memory = Memory(tmp_path, "a")
    assert memory.holder() is None
    assert memory.elected()
    assert memory.holder() == os.getpid()
    (lock,) = tmp_path.glob("*.lock")
    lock.write_text("")
    assert memory.holder() is None
