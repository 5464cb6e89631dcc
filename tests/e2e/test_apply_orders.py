"""Orders of changes, kills and edits that once did harm, on a real server under a real supervisord."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.conftest import SMALL_POOL
from tests.e2e.verbs import unfrag
from unfrag.rig.server import Rig

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rig():
    with Rig(SMALL_POOL) as rig:
        rig.wait_ready()
        yield rig


@pytest.fixture
def own(rig, tmp_path, monkeypatch):
    """The rig with a history of its own, healthy before and after."""
    monkeypatch.setenv("UNFRAG_STATE", str(tmp_path / "state"))
    good = rig.config.read_bytes()
    yield rig
    if rig.config.read_bytes() != good:
        rig.config.write_bytes(good)
        rig.launcher.restart()
        rig.wait_ready()


def killed(rig, at, log, *words, verb="apply"):
    """``unfrag apply`` or another verb that dies right before the step that is called so."""
    command = [sys.executable, "-m", "tests.e2e.killed_at", at, str(log), "--", verb, "--config", str(rig.config)]
    done = subprocess.run(
        [*command, "--server", rig.server, *words], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == -9, done.stderr


def by_hand(rig, content):
    rig.config.write_bytes(content)
    rig.launcher.restart()


def is_healthy(rig):
    return httpx.get(f"{rig.url}/health", timeout=10, trust_env=False).status_code == 200


def pid(rig):
    return rig.launcher.status().pid


def broken(content):
    return content.replace(b"--block-size 32", b"--block-size banana")


def test_a_file_that_a_human_put_back_is_not_written_over(own):
    good = own.config.read_bytes()
    assert unfrag(own, "apply", "--", "--block-size", "64").returncode == 0
    assert unfrag(own, "rollback").returncode == 0
    by_hand(own, broken(good))
    fixed = unfrag(own, "apply", "--", "--block-size", "64")
    assert fixed.returncode == 0, fixed.stderr
    back = unfrag(own, "rollback")
    assert (back.returncode, "as they were" in back.stderr) == (4, True), back.stderr
    assert is_healthy(own), "a healthy server is not left down by a rollback"
    by_hand(own, good)
    own.wait_ready()
    before = pid(own)
    typo = unfrag(own, "apply", "--", "--max-num-seq", "4")
    assert (typo.returncode, typo.stderr.count("\n")) == (2, 1), typo.stderr
    assert (own.config.read_bytes(), pid(own)) == (good, before)
    assert is_healthy(own)


def test_a_change_cut_short_before_its_restart_leaves_the_server_alone(own, tmp_path):
    good, before = own.config.read_bytes(), pid(own)
    killed(own, "reloadConfig", tmp_path / "steps", "--", "--block-size", "64")
    assert own.config.read_bytes() != good
    back = unfrag(own, "rollback")
    assert (back.returncode, "the server was not touched" in back.stderr) == (0, True), back.stderr
    assert (own.config.read_bytes(), pid(own)) == (good, before)


def test_a_change_cut_short_when_the_server_was_up_is_kept_and_can_be_taken_back(own, tmp_path):
    good = own.config.read_bytes()
    killed(own, "POST /v1/completions", tmp_path / "steps", "--", "--block-size", "64")
    before = pid(own)
    typo = unfrag(own, "apply", "--", "--max-num-seq", "4")
    assert (typo.returncode, pid(own)) == (2, before)
    back = unfrag(own, "rollback")
    assert back.returncode == 0, back.stderr
    assert "nothing was verified" in back.stderr
    assert own.config.read_bytes() == good
    assert is_healthy(own)


def test_what_was_edited_after_a_kill_is_what_the_next_change_begins_with(own, tmp_path):
    good = own.config.read_bytes()
    killed(own, "reloadConfig", tmp_path / "steps", "--", "--block-size", "64")
    edited = good + b"; mine\n"
    own.config.write_bytes(edited)
    done = unfrag(own, "apply", "--", "--block-size", "96")
    assert done.returncode == 0, done.stderr
    assert "was edited since: that is left as it is" in done.stderr
    assert own.config.read_bytes() == edited.replace(b"--block-size 32", b"--block-size 96")


def test_what_was_taken_back_can_be_made_once_more(own):
    good = own.config.read_bytes()
    assert unfrag(own, "apply", "--", "--block-size", "64").returncode == 0
    there = own.config.read_bytes()
    back = unfrag(own, "rollback")
    assert own.config.read_bytes() == good
    redo = back.stderr.split("--redo ")[1].split()[0]
    again = unfrag(own, "apply", "--redo", redo)
    assert again.returncode == 0, again.stderr
    assert own.config.read_bytes() == there
    assert Path(own.config).stat().st_size == len(there)


@pytest.mark.parametrize("verb", ["apply", "rollback"])
def test_a_program_that_supervisord_lost_in_a_change_is_started_again(own, tmp_path, verb):
    good = own.config.read_bytes()
    killed(own, "addProcessGroup", tmp_path / "steps", "--", "--block-size", "64")
    assert own.launcher.status().state == "UNLOADED"
    if verb == "apply":
        looks = unfrag(own, "apply", "--dry-run", "--", "--block-size", "96")
        assert (looks.returncode, "the old server started" in looks.stderr) == (0, True), looks.stderr
        assert own.launcher.status().state == "UNLOADED"
    words = ["--", "--block-size", "96"] if verb == "apply" else []
    done = unfrag(own, verb, *words)
    assert done.returncode == 0, done.stderr
    assert own.config.read_bytes() == (good.replace(b"--block-size 32", b"--block-size 96") if words else good)
    assert is_healthy(own)
    assert own.launcher.status().state == "RUNNING"


def test_a_rollback_that_was_cut_short_before_its_restart_can_be_made(own, tmp_path):
    good = own.config.read_bytes()
    assert unfrag(own, "apply", "--", "--block-size", "64").returncode == 0
    killed(own, "reloadConfig", tmp_path / "steps", verb="rollback")
    assert own.config.read_bytes() == good
    back = unfrag(own, "rollback")
    assert back.returncode == 0, back.stderr
    assert "as it was before the rollback" in back.stderr
    assert own.config.read_bytes() == good
    assert "--block-size 32" in own.launcher.running()
