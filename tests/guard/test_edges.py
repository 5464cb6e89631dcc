"""The guard's edges: what it writes, remembers and is told, also where that goes wrong."""

from __future__ import annotations

import datetime
import json
import time

import httpx
import pytest

from tests.receiver import Receiver
from tests.waiting import until
from unfrag import cli
from unfrag.apply.lock import is_held
from unfrag.errors import UsageError
from unfrag.guard import audit, fleet, service, targets
from unfrag.guard.activity import Processes
from unfrag.guard.heartbeat import Heartbeat
from unfrag.guard.memory import Memory, Remembered
from unfrag.guard.policy import Policy
from unfrag.guard.poll import poll
from unfrag.guard.service import nightly_is_due
from unfrag.guard.state import Restart, State
from unfrag.guard.webhook import KEPT, Webhook
from unfrag.system.files import write_atomically


def test_the_audit_rotates_and_keeps_three(tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "MAX_BYTES", 2000)
    log = audit.Audit(tmp_path / "log")
    for number in range(200):
        log.write("a", "seen", number=number)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1", "log.2", "log.3"]
    assert all(path.stat().st_size <= 2000 for path in tmp_path.iterdir())
    assert json.loads((tmp_path / "log").read_text().splitlines()[-1])["number"] == 199


def test_a_log_that_cannot_be_written_is_told_once_and_counted(tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("")
    log = audit.Audit(blocked / "log")
    for _ in range(5):
        log.write("a", "seen")
    assert capsys.readouterr().err.count("\n") == 1
    blocked.unlink()
    blocked.mkdir()
    log.write("a", "flush")
    assert json.loads((blocked / "log").read_text())["lost_lines"] == 5


def test_a_log_makes_no_folder(tmp_path, capsys):
    log = tmp_path / "mistyped" / "log"
    audit.Audit(log).write("a", "seen")
    assert f"there is no folder {log.parent}" in capsys.readouterr().err
    for manager in ("systemd", "cron"):
        assert cli.main(["guard", "install", f"--{manager}", "--dry-run", "--log", str(log)]) == 2
        assert f"there is no folder {log.parent}" in capsys.readouterr().err
    assert not log.parent.exists()


def test_one_guard_acts_and_another_takes_over(tmp_path):
    first, second = Memory(tmp_path, "a"), Memory(tmp_path, "a")
    assert first.elected()
    assert not second.elected()
    (lock,) = tmp_path.glob("*.lock")
    assert is_held(lock)
    del first
    assert not is_held(lock)
    assert second.elected()


@pytest.mark.parametrize("content", [b"", b"{", b'{"state": 3}', b"\xff\xfe"])
def test_a_damaged_memory_counts_as_none(tmp_path, content):
    memory = Memory(tmp_path, "a/b")
    memory.save(Remembered(State(last_poll=5.0), acting="restart"))
    (file,) = tmp_path.glob("*.json")
    assert memory.load(6.0).acting == "restart"
    file.write_bytes(content)
    assert memory.load(6.0) == Remembered()


def test_after_a_reboot_old_times_do_not_count(tmp_path):
    memory = Memory(tmp_path, "a")
    memory.save(Remembered(State(last_poll=5e6, restarts=(Restart(5e6),), since={"dead": 1.0}), nightly="2026-11-22"))
    found = memory.load(60.0)
    assert (found.state.restarts, found.state.since, found.nightly) == ((), {}, "2026-11-22")


@pytest.mark.parametrize(
    ("now", "last", "due"),
    [
        ("2026-11-23 01:59", "2026-11-22", False),
        ("2026-11-23 02:00", "2026-11-22", True),
        ("2026-11-23 02:30", "2026-11-23", False),
        ("2026-11-23 17:00", "2026-11-20", True),
    ],
)
def test_the_nightly_flush_is_made_up_for(now, last, due):
    assert nightly_is_due(datetime.datetime.fromisoformat(now), last, "02:00") is due
    assert not nightly_is_due(datetime.datetime.fromisoformat(now), last, "")


def test_a_webhook_that_was_away_gets_the_latest_in_order(tmp_path):
    with Receiver() as receiver:
        hook = Webhook(receiver.url, tmp_path)
        for n in range(KEPT + 20):
            hook.tell({"n": n})
        assert len(list(tmp_path.iterdir())) <= KEPT
        receiver.serve()
        until(lambda: receiver.got and receiver.got[-1]["n"] == KEPT + 19)
        until(lambda: not list(tmp_path.iterdir()))
        hook.stop()
    got = [message["n"] for message in receiver.got]
    assert got == sorted(got)
    assert len(got) >= KEPT - 1


def test_a_message_that_is_refused_holds_up_no_other(tmp_path):
    with Receiver(refuses=lambda message: message["n"] == 0) as receiver:
        receiver.serve()
        hook = Webhook(receiver.url, tmp_path)
        for n in range(3):
            hook.tell({"n": n})
        until(lambda: [message["n"] for message in receiver.got] == [0, 1, 2])
        hook.stop()


@pytest.mark.parametrize("verb", [["--once"], ["test-page"], ["install", "--systemd", "--dry-run"]], ids=" ".join)
@pytest.mark.parametrize("hook", ["", "hunter2", "chat.example/hunter2", "ftp://a/hunter2", "https:///hunter2"])
def test_a_webhook_that_is_no_address_is_refused_at_once_and_not_repeated(verb, hook, tmp_path, capsys):
    assert cli.main(["guard", *verb, "--webhook", hook, "--log", str(tmp_path / "log")]) == 2
    said = "".join(capsys.readouterr())
    assert "--webhook is no address" in said
    assert "hunter2" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_leaves_nothing_behind(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UNFRAG_STATE", str(tmp_path / "state"))
    words = ["guard", "--url", "http://who:hunter2@127.0.0.1:9", "--log", str(tmp_path / "log"), "--once"]
    assert cli.main([*words, "--dry-run"]) == 0
    assert not (tmp_path / "state").exists()
    assert cli.main(words) == 0
    written = "".join(capsys.readouterr()) + "".join(str(path) for path in tmp_path.rglob("*"))
    assert "hunter2" not in written + (tmp_path / "log").read_text()


def test_two_servers_of_one_name_are_two(tmp_path):
    one, two = (targets.Target(url=url, name="glm_vllm") for url in ("http://127.0.0.1:1", "http://127.0.0.1:2"))
    memories = [Memory(tmp_path, target.label, target.identity) for target in (one, two)]
    assert all(memory.elected() for memory in memories)


@pytest.mark.parametrize(
    ("url", "address", "label"),
    [
        ("http://me:hunter2@a:1/", "http://a:1", "a:1"),
        ("https://a/b@c", "https://a/b@c", "a/b@c"),
        ("http://[::1]:8000", "http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_a_login_is_no_part_of_what_a_server_is_called(url, address, label):
    target = targets.Target(url=url)
    assert (target.address, target.label) == (address, label)


def test_targets_are_a_list_or_prometheus_own_file(tmp_path):
    file = tmp_path / "targets.json"
    file.write_text(
        '[{"url": "http://a:8000", "name": "one", "config": "FILE"}, {"targets": ["b:8000", "c:8000"]}]'.replace(
            "FILE", str(file)
        )
    )
    found = targets.from_file(file)
    assert [target.label for target in found] == ["one", "b:8000", "c:8000"]
    assert found[2].url == "http://c:8000"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"[1]",
        b'[{"ur": "x"}]',
        b'[{"targets": 3}]',
        b'[{"url": "127.0.0.1:8000"}]',
        b'[{"url": "http://a", "config": "/no/such"}]',
        b'[{"url": "a"}, {"url": "a"}]',
        b"\xff",
    ],
)
def test_targets_that_are_none_are_one_line(tmp_path, content):
    file = tmp_path / "targets.json"
    file.write_bytes(content)
    with pytest.raises(UsageError):
        targets.from_file(file)


def test_a_name_is_a_server_at_each_of_its_addresses(tmp_path):
    urls = {target.url for target in targets.from_dns("localhost:8000")}
    assert "http://127.0.0.1:8000" in urls
    assert urls <= {"http://127.0.0.1:8000", "http://[::1]:8000"}
    file = tmp_path / "targets.json"
    file.write_text('[{"dns": "localhost:8000", "scheme": "https"}, {"url": "http://a:1"}]')
    assert {target.url.split(":")[0] for target in targets.from_file(file)} == {"http", "https"}
    for wrong in ("localhost", "localhost:x", ":80", "no-such-host.invalid:80", "a" * 70 + ".b:80"):
        with pytest.raises(UsageError):
            targets.from_dns(wrong)


def test_a_fleet_follows_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr(fleet, "_EVERY_SECONDS", 0.0)
    file, log = tmp_path / "targets.json", tmp_path / "log"

    def write(text):
        write_atomically(file, text.encode())

    write('[{"targets": ["a:1", "b:1"]}]')
    record = audit.Audit(log)

    def watch(target):
        return service.WatchedServer(target, None, Policy(), tmp_path / "state", record, lambda *_: None)

    many = fleet.Fleet(lambda: targets.from_file(file), watch, record)

    def labels():
        many.refresh()
        return [one.target.label for one in many.watched]

    kept = many.watched[1]
    assert kept._is_elected()
    write('[{"targets": ["b:1", "c:1"]}]')
    until(lambda: labels() == ["b:1", "c:1"])
    assert many.watched[0] is kept, "what it remembers is not lost"
    write("half a fi")
    until(lambda: (labels(), "lookup failed" in log.read_text())[1])
    assert labels() == ["b:1", "c:1"]
    write('[{"targets": ["c:1"]}]')
    until(lambda: labels() == ["c:1"])
    assert Memory(tmp_path / "state", "b:1", kept.target.identity).elected(), "another guard may have it"
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert events == ["watched", "let go", "lookup failed", "let go"]


def test_nobody_there_and_nonsense_are_what_was_seen():
    beat, still = Heartbeat(time.monotonic, 60.0), Processes(time.monotonic)
    with httpx.Client() as client:
        assert poll(client, targets.Target(url="http://127.0.0.1:9"), None, 1.0, 1.0, beat, still).answers == "refused"
        assert poll(client, targets.Target(url="nonsense"), None, 1.0, 1.0, beat, still).answers == "silent"


@pytest.mark.parametrize("manager", ["systemd", "supervisor", "cron"])
def test_install_prints_what_it_would_write(manager, capsys, tmp_path):
    assert cli.main(["guard", "install", f"--{manager}", "--dry-run", "--url", "http://127.0.0.1:9"]) == 0
    printed = capsys.readouterr().out
    assert "http://127.0.0.1:9" in printed
    assert cli.main(["guard", "install"]) == 2
