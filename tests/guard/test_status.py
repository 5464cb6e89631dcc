"""`unfrag guard status`: what a guard last saw, of all servers or of those that were named."""

from __future__ import annotations

import json
import time

import pytest

from unfrag import cli
from unfrag.guard import audit, service
from unfrag.guard.memory import Memory, Remembered
from unfrag.guard.policy import Policy
from unfrag.guard.state import Restart, State
from unfrag.guard.targets import Target

URL = "http://127.0.0.1:9"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("UNFRAG_STATE", str(tmp_path))
    return tmp_path / "guard"


@pytest.fixture
def guards(folder):
    """Puts a guard to work that has seen this; the guards end with the test."""
    at_work = []

    def watch(label, **seen):
        memory = Memory(folder, label)
        assert memory.elected()
        state = State(last_poll=time.monotonic(), **seen.pop("state", {}))
        memory.save(Remembered(state, **{"rule": "healthy", "label": label, "address": f"http://{label}", **seen}))
        at_work.append(memory)
        return memory

    return watch


def status(capsys, *words):
    code = cli.main(["guard", "status", *words])
    return code, capsys.readouterr().out


@pytest.mark.parametrize(("paged", "code"), [((), 0), (("budget",), 1)])
def test_it_is_1_while_a_human_is_needed(paged, code, guards, capsys):
    memory = guards("glm", rule="budget" if paged else "healthy", state={"paged": paged})
    found, said = status(capsys)
    assert found == code
    assert ("A HUMAN IS NEEDED: budget" in said) == bool(paged)
    assert memory.elected()


def test_without_any_guard_it_is_1(folder, capsys):
    code, said = status(capsys)
    assert code == 1
    assert "no guard has run here yet" in said


@pytest.mark.parametrize(
    ("seen", "line"),
    [
        ({}, "glm:8000: healthy; seen 0 s ago, no restart in the last hour; guarded\n"),
        ({"rule": "stuck", "why": "a debugger holds it"}, "glm:8000: stuck: a debugger holds it; seen 0 s ago, "),
    ],
)
def test_a_line_is_the_server_the_row_and_why(seen, line, guards, capsys):
    _guard = guards("glm:8000", **seen)
    assert status(capsys)[1].startswith(line)


@pytest.mark.parametrize(
    ("helped", "said"),
    [
        ((True,), "1 restart in the last hour, which helped"),
        ((False, False), "2 restarts in the last hour, 2 of them in vain"),
        ((True, False), "2 restarts in the last hour, 1 of them in vain"),
    ],
)
def test_restarts_that_helped_are_told_from_those_in_vain(helped, said, guards, capsys):
    _guard = guards("glm", state={"restarts": tuple(Restart(time.monotonic(), each) for each in helped)})
    assert said in status(capsys)[1]
    (row,) = json.loads(status(capsys, "--json")[1])["targets"]
    assert (row["restarts_last_hour"], row["restarts_in_vain"]) == (len(helped), helped.count(False))


def test_a_server_that_was_named_is_shown_alone(guards, capsys):
    _guards = guards("a:1"), guards("b:1", state={"paged": ("budget",)})
    code, said = status(capsys, "--url", "http://a:1/")
    assert (code, said.count("\n")) == (0, 1)
    assert said.startswith("a:1: healthy")
    assert status(capsys, "--url", "http://b:1")[0] == 1
    assert status(capsys)[1].count("\n") == 2


def test_a_server_that_was_named_and_nobody_watches_is_said(guards, folder, tmp_path, capsys):
    _guard = guards("a:1")
    assert status(capsys, "--url", "http://c:1") == (1, f"c:1: no guard watches it (looked in {folder})\n")
    config = tmp_path / "a.conf"
    config.write_text("[program:glm_vllm]\ncommand=vllm serve m\n")
    code, said = status(capsys, "--config", str(config))
    assert (code, said) == (1, f"--config {config}: no guard watches it (looked in {folder})\n")
    code, said = status(capsys, "--url", "http://c:1", "--json")
    assert json.loads(said)["targets"][0] == {
        **{"target": "c:1", "at_work": False, "seconds_ago": None, "rule": "", "why": "", "acting": None, "paged": []},
        **{"restarts_last_hour": 0, "restarts_in_vain": 0},
    }


def test_a_list_is_shown_in_its_order(guards, tmp_path, capsys):
    _guard = guards("a:1")
    file = tmp_path / "targets.json"
    file.write_text('[{"targets": ["c:1", "a:1"]}]')
    code, said = status(capsys, "--targets", str(file))
    assert code == 1
    assert [line.partition(" ")[0] for line in said.splitlines()] == ["c:1:", "a:1:"]


def test_a_server_is_found_by_its_place_and_by_its_address(folder, tmp_path, capsys):
    """However its supervisord is reached; and what an earlier guard left of the same address does not count."""
    config = tmp_path / "a.conf"
    config.write_text("[program:glm_vllm]\ncommand=vllm serve m --port 9\n")
    target = Target(url=URL, name="glm_vllm", config=str(config), server="http://me:hunter2@127.0.0.1:9001")
    before = Memory(folder, "127.0.0.1:9")
    before.save(Remembered(State(last_poll=time.monotonic()), address=URL))
    log = audit.Audit(tmp_path / "log")
    one = service.WatchedServer(target, None, Policy(doctor_seconds=0), folder, log, lambda *_: None)
    assert one._is_elected()
    one._memory.save(one.remembered)
    for words in (["--config", str(config)], ["--url", URL]):
        code, said = status(capsys, *words)
        assert (code, said.count("\n")) == (0, 1)
        assert said.startswith("glm_vllm: nothing seen yet; no restart in the last hour; guarded")
    assert not any("hunter2" in file.read_text() for file in folder.glob("*.json"))
