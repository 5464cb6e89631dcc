"""The guard names only the ways by which a page reaches somebody, and says why the others do not work."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.receiver import Receiver
from unfrag import cli
from unfrag.commands import guard
from unfrag.guard import system_log
from unfrag.guard.policy import Policy
from unfrag.guard.trial import TEXT
from unfrag.guard.ways import ways
from unfrag.guard.words import dry_words, first_words, who_is_told

KINDS = {"datagrams": socket.SOCK_DGRAM, "stream": socket.SOCK_STREAM}


@contextlib.contextmanager
def machine(kind=socket.SOCK_DGRAM):
    """A machine's syslog: who reads it, and its place."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, kind) as reader:
        reader.bind(f"{folder}/log")
        if kind == socket.SOCK_STREAM:
            reader.listen()
        reader.settimeout(5)
        yield reader, f"{folder}/log"


@pytest.fixture
def syslog(monkeypatch):
    with machine() as (reader, place):
        monkeypatch.setattr(system_log, "PLACE", place)
        yield reader


@pytest.fixture
def no_syslog(tmp_path, monkeypatch):
    monkeypatch.setattr(system_log, "PLACE", str(tmp_path / "none"))


@pytest.fixture
def no_log(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "LOG", tmp_path / "missing" / "log")


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_goes_to_who_reads_syslog(kind, monkeypatch):
    with machine(KINDS[kind]) as (reader, place):
        monkeypatch.setattr(system_log, "PLACE", place)
        assert system_log.send("glm: a\x1bb", is_critical=True) is None
        with reader.accept()[0] if kind == "stream" else reader as line:
            got = line.recv(1000).decode()
    assert got.startswith("<26>")
    assert f"unfrag-guard[{os.getpid()}]: glm: a\\x1bb" in got


def test_a_syslog_that_nobody_reads_is_none(monkeypatch):
    with machine() as (reader, place):
        monkeypatch.setattr(system_log, "PLACE", place)
        assert system_log.fault() is None
        reader.close()
        assert system_log.fault() == system_log.send("x", is_critical=False) == f"nobody reads {place}"
    assert system_log.fault() == f"there is no {place} here"


def test_a_test_page_that_only_the_terminal_saw_is_none(no_syslog, no_log, tmp_path, capsys):
    assert cli.main(["guard", "test-page"]) == 3
    said = capsys.readouterr()
    assert TEXT in said.out
    assert "said here\n" in said.out
    assert f"not in syslog: there is no {tmp_path / 'none'} here\n" in said.out
    assert f"not in {tmp_path / 'missing' / 'log'}: there is no folder {tmp_path / 'missing'};" in said.out
    assert said.err.count("\n") == 1
    assert "--webhook URL or --log FILE" in said.err
    assert not (tmp_path / "missing").exists()


def test_a_test_page_in_syslog_alone_is_one(syslog, no_log, capsys):
    assert cli.main(["guard", "test-page"]) == 0
    assert TEXT in syslog.recv(1000).decode()
    assert "said here and in syslog\n" in capsys.readouterr().out


def test_a_test_page_in_the_log_alone_is_one(no_syslog, tmp_path, capsys):
    log = tmp_path / "log"
    assert cli.main(["guard", "test-page", "--log", str(log)]) == 0
    assert json.loads(log.read_text())["why"] == TEXT
    assert f"said here and in {log}\n" in capsys.readouterr().out


def test_a_log_that_was_named_and_cannot_be_written_sends_nothing(syslog, tmp_path, capsys):
    assert cli.main(["guard", "test-page", "--log", str(tmp_path / "missing" / "log")]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert f"there is no folder {tmp_path / 'missing'}" in said.err
    syslog.setblocking(False)
    with pytest.raises(BlockingIOError):
        syslog.recv(1000)


def test_no_error_repeats_a_webhook(syslog, tmp_path, capsys):
    words = ["guard", "test-page", "--log", str(tmp_path / "log"), "--webhook"]
    with Receiver(refuses=lambda message: True) as receiver:
        receiver.serve()
        assert cli.main([*words, f"{receiver.url}hunter2"]) == 3
        assert "the webhook answers 400" in capsys.readouterr().err
    for url in ("http://127.0.0.1:9/hunter2", "http://a.invalid/hunter2", "http://me:hunter2@127.0.0.1:9/"):
        assert cli.main([*words, url]) == 3
        said = "".join(capsys.readouterr())
        assert "the webhook cannot be reached" in said
        assert "hunter2" not in said


def test_the_first_words_name_the_ways_that_work():
    log = Path("/var/log/guard")
    broken = ways(log, "Permission denied", "there is no /dev/log here")
    assert who_is_told(broken, has_webhook=False, has_metrics=False) == [
        "no --webhook: when a human is needed it is said here and by `unfrag guard status` (exit 1)",
        "not in syslog: there is no /dev/log here",
        "not in /var/log/guard: Permission denied; --log names another file",
    ]
    every, untried = who_is_told(ways(log, None, None), has_webhook=True, has_metrics=True)
    for way in ("here, in syslog, in /var/log/guard, to the webhook", "guard status", "unfrag_guard_human_needed"):
        assert way in every
    assert "test-page" in untried
    assert first_words([], Policy(), log, None) == []
    assert "not written down in /var/log/guard: Permission denied" in dry_words(log, "Permission denied")


def test_a_log_that_cannot_be_written_stops_no_guard_and_is_said(tmp_path):
    log = tmp_path / "missing" / "log"
    command = [sys.executable, "-m", "unfrag", "guard", "--url", "http://127.0.0.1:9", "--log", str(log)]
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True) as process:
        lines = [process.stdout.readline() for _ in range(3 + (system_log.fault() is not None))]
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert ("in syslog," in lines[1]) == (system_log.fault() is None)
    assert f"not in {log}: there is no folder {log.parent}" in lines[-1]
    assert not log.parent.exists()
