"""A page reaches somebody also where there is no webhook."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys

import msgspec
import pytest

from tests.receiver import Receiver
from tests.waiting import until
from unfrag import cli
from unfrag.guard.memory import Memory, Remembered
from unfrag.guard.state import Decision
from unfrag.guard.tell import Telling


def test_a_page_is_said_where_the_guard_runs():
    stream = io.StringIO()
    Telling(None, stream)("glm", Decision("page", "budget", "3 restarts did not help"), "")
    assert "glm: a human is needed (budget): 3 restarts did not help" in stream.getvalue()


@pytest.mark.parametrize("why", ["its engine is dead", "its engine is dead.", "did you mean glm?"])
def test_sentences_that_are_joined_have_one_mark_each(why):
    stream = io.StringIO()
    Telling(None, stream)("glm", Decision("restart", "dead", why), "failed: no such program")
    assert f"{why.rstrip('.')}{'' if why.endswith('?') else '.'} failed: no such program\n" in stream.getvalue()


def test_a_stream_that_is_gone_stops_nobody():
    stream = io.StringIO()
    stream.close()
    Telling(None, stream)("glm", Decision("restart", "dead", "why"), "restarted")


def test_without_a_webhook_that_is_said_at_the_start(tmp_path):
    words = ["guard", "--url", "http://127.0.0.1:9", "--log", str(tmp_path / "log")]
    process = subprocess.Popen(
        [sys.executable, "-m", "unfrag", *words],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "UNFRAG_STATE": str(tmp_path)},
    )
    lines = [process.stdout.readline() for _ in range(2)]
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 0
    assert "guarding 127.0.0.1:9: a poll every 5 s" in lines[0]
    assert "no --webhook" in lines[1]
    assert "unfrag guard status" in lines[1]


def test_a_test_page_goes_every_way_and_says_which(tmp_path, capsys):
    log = tmp_path / "log"
    with Receiver() as receiver:
        receiver.serve()
        assert cli.main(["guard", "test-page", "--log", str(log), "--webhook", receiver.url]) == 0
        until(lambda: receiver.got)
        assert receiver.got[0]["action"] == "page"
    printed = capsys.readouterr().out
    assert "nobody needs to do anything" in printed
    assert "the webhook took it" in printed
    assert json.loads(log.read_text())["event"] == "page"
    assert cli.main(["guard", "test-page", "--log", str(log), "--webhook", "http://127.0.0.1:9/"]) == 3
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("words", [["--interval", "60"], ["--interval", "46"]])
def test_an_interval_above_the_hang_limit_is_refused(words, tmp_path, capsys):
    assert cli.main(["guard", "--once", "--log", str(tmp_path / "log"), *words]) == 2
    assert "below the interval" in capsys.readouterr().err


def test_the_articles_policy_says_what_it_costs(tmp_path):
    words = ["guard", "--policy", "article", "--url", "http://127.0.0.1:9", "--log", str(tmp_path / "log")]
    process = subprocess.Popen(
        [sys.executable, "-m", "unfrag", *words],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "UNFRAG_STATE": str(tmp_path)},
    )
    lines = "".join(process.stdout.readline() for _ in range(4))
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert "flushes the whole prefix cache" in lines
    assert "restarts servers whose card is full" in lines


def test_a_memory_of_an_older_guard_counts_as_none(tmp_path):
    memory = Memory(tmp_path, "a")
    memory.save(Remembered())
    (file,) = tmp_path.glob("*.json")
    old = msgspec.json.decode(file.read_bytes())
    old["state"]["restarts"] = [5.0]
    file.write_bytes(msgspec.json.encode(old))
    assert memory.load(6.0) == Remembered()
