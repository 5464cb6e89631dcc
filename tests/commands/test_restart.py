"""`unfrag restart`, and what a server that does not come up is diagnosed with."""

import re

import pytest

from tests.apply.world import Answers, World
from unfrag.apply.history import History
from unfrag.launchers import LaunchSpec

GOOD, BAD = "vllm serve m --port 1", "vllm serve m --port 1 --max-num-seqs 13"
LOG = (
    "ERROR 11-22 10:00:00 [core.py:3] ValueError: To serve at least one request with the models's max seq len (16384), "
    "(1.29 GiB KV cache is needed, which is larger than the available KV cache memory (0.80 GiB). Based on the "
    "available memory, the estimated maximum model length is 10112. Try increasing `gpu_memory_utilization` or "
    "decreasing `max_model_len` when initializing the engine.\n"
    "RuntimeError: Engine core initialization failed. See root cause above.\n"
)


@pytest.fixture(scope="module")
def answers():
    server = Answers()
    yield server
    server.close()


@pytest.fixture
def world(tmp_path, answers):
    made = World(tmp_path, answers.url)
    answers.world = made
    made.file.write_bytes(made.say(GOOD))
    made.set()
    made.start()
    return made


def test_it_waits_until_the_server_is_ready_and_says_how_long(world):
    done = world.run("restart")
    assert done.code == 0
    assert "glm_vllm is ready again after" in done.err
    assert world.state["started"] == [GOOD, GOOD]


def test_a_dry_run_restarts_nothing(world):
    done = world.run("restart", "--dry-run")
    assert (done.code, world.state["started"]) == (0, [GOOD])
    assert "RUNNING" in done.err


def test_a_server_that_does_not_come_up_is_5_with_the_doctors_words(world):
    world.file.write_bytes(world.say(BAD))
    (world.folder / "server.log").write_text(LOG)
    done = world.run("restart")
    assert done.code == 5
    assert "why: UF004 kv_pool_too_small" in done.err
    assert f"do:  unfrag apply --config {world.file} -- --max-model-len 10112" in done.err
    assert "See root cause" not in done.err


def test_a_change_that_was_cut_short_is_ended_first(world, monkeypatch):
    monkeypatch.setenv("UNFRAG_STATE", str(world.folder / "state"))
    spec = LaunchSpec(world.file, world.file.read_bytes(), "glm_vllm", GOOD, "")
    History().keep(spec, world.say(BAD))
    done = world.run("restart")
    assert (done.code, world.state["started"]) == (2, [GOOD])
    assert f"unfrag rollback --config {world.file}" in done.err


def test_a_failed_apply_says_why_and_not_the_end_of_a_traceback(world):
    (world.folder / "server.log").write_text(LOG)
    done = world.run("apply", "--", "--max-num-seqs", "13")
    assert (done.code, world.is_healthy) == (4, True)
    assert "why: UF004 kv_pool_too_small" in done.err
    assert "--max-model-len 10112" in done.err
    assert "See root cause" not in done.err
    assert "the old server runs again" in done.err


def test_where_the_doctor_finds_nothing_the_last_lines_stand(world):
    (world.folder / "server.log").write_text("a line that nobody knows\n")
    done = world.run("apply", "--", "--max-num-seqs", "13")
    assert done.code == 4
    assert "the last lines of its log:\n  a line that nobody knows" in done.err


def test_the_history_says_when_and_which_flags(world, capsys, monkeypatch):
    from unfrag import cli

    assert world.run("apply", "--", "--seed", "7").code == 0
    monkeypatch.setenv("UNFRAG_STATE", str(world.folder / "state"))
    assert cli.main(["apply", "--config", str(world.file), "--history"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC  applied ", line)
    assert line.endswith("--seed 7")
