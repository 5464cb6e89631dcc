"""Changes to a real server under a real supervisord: what holds stays, what does not is taken back."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.conftest import SMALL_POOL
from tests.e2e.verbs import unfrag
from tests.waiting import until
from unfrag.flags.line import read_flags
from unfrag.rig.server import Rig


@pytest.fixture(scope="module")
def own_rig():
    with Rig(SMALL_POOL) as rig:
        rig.wait_ready()
        yield rig


def running_flags(rig):
    (server,) = [p for p in rig.processes() if p.pid == rig.launcher.status().pid]
    return read_flags(" ".join(server.cmdline()))


def test_apply_verifies_and_rollback_goes_back_byte_for_byte(own_rig):
    before = own_rig.config.read_bytes()
    done = unfrag(own_rig, "apply", "--unset", "max-num-seqs", "--", "--block-size", "64")
    assert done.returncode == 0, done.stderr
    after = own_rig.config.read_bytes()
    assert after == before.replace(b"--block-size 32", b"--block-size 64").replace(b" --max-num-seqs 16", b"")
    assert running_flags(own_rig)["--block-size"] == "64"
    assert "the KV cache will hold 16,384 tokens (8,192 now)" in done.stderr
    stats = httpx.get(f"{own_rig.url}/health").json()["memory_stats"]
    assert stats["block_size_tokens"] == 64
    assert "unfrag rollback" in done.stderr

    again = unfrag(own_rig, "apply", "--", "--block-size", "64")
    assert (again.returncode, own_rig.config.read_bytes()) == (0, after)
    assert "nothing to do" in again.stderr

    done = unfrag(own_rig, "rollback")
    assert done.returncode == 0, done.stderr
    assert own_rig.config.read_bytes() == before
    assert running_flags(own_rig)["--block-size"] == "32"
    assert unfrag(own_rig, "rollback").returncode == 2, "the same change is not undone twice"


def test_a_server_that_does_not_come_up_is_rolled_back(own_rig):
    before = own_rig.config.read_bytes()
    done = unfrag(own_rig, "apply", "--", "--max-model-len", "9000000")
    assert done.returncode == 4, done.stderr
    assert "why: UF020 unsupported_flag" in done.stderr, "the doctor says why it did not start"
    assert "the old server runs again" in done.stderr
    assert own_rig.config.read_bytes() == before
    assert httpx.get(f"{own_rig.url}/health").status_code == 200


@pytest.mark.slow
def test_a_plan_that_promises_more_tokens_than_come_is_rolled_back(own_rig, tmp_path):
    before = own_rig.config.read_bytes()
    plan = tmp_path / "plan.json"
    plan.write_text('{"flags": [{"flag": "--max-num-seqs", "value": "8"}], "kv_tokens": 1000000, "fits": true}')
    done = unfrag(own_rig, "apply", "--plan", str(plan))
    assert done.returncode == 4, done.stderr
    assert "will hold 1,000,000 tokens (8,192 now)" in done.stderr
    assert "the KV cache holds 8,192 tokens where 1,000,000 were expected" in done.stderr
    assert own_rig.config.read_bytes() == before


def test_what_can_be_known_before_costs_no_restart(own_rig, tmp_path):
    before, pid = own_rig.config.read_bytes(), own_rig.launcher.status().pid
    for words, said in [
        (["--", "--no-such-flag", "1"], "--no-such-flag"),
        (["--", "--max-num-seq", "8"], "did you mean --max-num-seqs"),
        (["--", "--block-size", "banana"], "banana is no whole number"),
        (["--plan", str(tmp_path / "none.json")], "No such file"),
        ([], "nothing to change"),
    ]:
        done = unfrag(own_rig, "apply", *words)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert said in done.stderr
    assert (own_rig.config.read_bytes(), own_rig.launcher.status().pid) == (before, pid)
    assert "unfrag's plugin" in unfrag(own_rig, "apply", "--dry-run", "--", "--enable-expert-cache").stderr


@pytest.mark.slow
def test_a_flag_of_the_plugin_brings_the_line_that_starts_it(own_rig):
    before = own_rig.config.read_bytes()
    done = unfrag(own_rig, "apply", "--", "--enable-expert-cache", "--pool", "contiguous")
    assert done.returncode == 0, done.stderr
    assert b"-m unfrag serve --model" in own_rig.config.read_bytes()
    assert httpx.get(f"{own_rig.url}/plugins/unfrag/experts").status_code == 200
    assert httpx.get(f"{own_rig.url}/health").json()["memory_stats"]["pool"] == "contiguous"
    assert unfrag(own_rig, "rollback").returncode == 0
    assert own_rig.config.read_bytes() == before


@pytest.mark.slow
def test_what_somebody_wrote_meanwhile_is_kept(own_rig):
    before = own_rig.config.read_bytes()
    command = [sys.executable, "-m", "unfrag", "apply", "--config", str(own_rig.config), "--server", own_rig.server]
    process = subprocess.Popen([*command, "--", "--max-model-len", "9000000"], stderr=subprocess.PIPE, text=True)
    until(lambda: b"9000000" in own_rig.config.read_bytes())
    with own_rig.config.open("ab") as file:
        file.write(b"; mine\n")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 4, err
    kept = Path(err.split("that is kept in ")[1].splitlines()[0])
    assert kept.read_bytes().endswith(b"; mine\n")
    assert kept.stat().st_mode & 0o077 == 0
    assert own_rig.config.read_bytes() == before


@pytest.mark.slow
def test_a_server_that_was_stopped_is_stopped_again(own_rig):
    own_rig.launcher.stop()
    try:
        done = unfrag(own_rig, "apply", "--", "--max-model-len", "9000000")
        assert (done.returncode, "is so again" in done.stderr) == (4, True), done.stderr
        assert own_rig.launcher.status().state == "STOPPED"
    finally:
        own_rig.launcher.restart()
        own_rig.wait_ready()


@pytest.mark.slow
def test_it_goes_back_over_several_changes(own_rig):
    before = own_rig.config.read_bytes()
    for size in ("64", "96"):
        assert unfrag(own_rig, "apply", "--", "--block-size", size).returncode == 0
    changes = json.loads(unfrag(own_rig, "apply", "--history", "--json").stdout)["changes"]
    first, second = [change["id"] for change in changes if change["state"] == "applied"][-2:]
    assert unfrag(own_rig, "rollback", "--to", first).returncode == 0
    assert (own_rig.config.read_bytes(), running_flags(own_rig)["--block-size"]) == (before, "32")
    changes = json.loads(unfrag(own_rig, "rollback", "--list", "--json").stdout)["changes"]
    assert {change["state"] for change in changes if change["id"] in (first, second)} == {"rolled back"}
    assert unfrag(own_rig, "rollback", "--to", second).returncode == 0, "and forward again, to what stood between them"
    assert running_flags(own_rig)["--block-size"] == "64"
    own_rig.config.write_bytes(before + b"; edited\n")
    assert unfrag(own_rig, "rollback", "--to", second).returncode == 2
    own_rig.config.write_bytes(before)
    own_rig.launcher.restart()
    own_rig.wait_ready()


@pytest.mark.slow
def test_a_bench_on_both_sides_is_shown(own_rig):
    before = own_rig.config.read_bytes()
    done = unfrag(own_rig, "apply", "--bench", "6", "--", "--max-num-seqs", "8")
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in ("before", "after", "TTFT P95", "failed requests"))
    assert unfrag(own_rig, "rollback").returncode == 0
    assert own_rig.config.read_bytes() == before


@pytest.mark.slow  # on a pretended launcher: tests/commands/test_interrupted.py
def test_ctrl_c_in_the_middle_rolls_back(own_rig):
    before = own_rig.config.read_bytes()
    command = [sys.executable, "-m", "unfrag", "apply", "--config", str(own_rig.config), "--server", own_rig.server]
    process = subprocess.Popen([*command, "--", "--block-size", "64"], stderr=subprocess.PIPE, text=True)
    until(lambda: b"--block-size 64" in own_rig.config.read_bytes())
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, "interrupted\nThe change was taken back" in err) == (4, True), err
    assert own_rig.config.read_bytes() == before
    assert running_flags(own_rig)["--block-size"] == "32"
    assert httpx.get(f"{own_rig.url}/health").status_code == 200


def test_an_unwritable_file_is_one_line_and_nothing_changes(own_rig, monkeypatch):
    before = own_rig.config.read_bytes()
    pid = own_rig.launcher.status().pid
    subprocess.run(["chattr", "+i", str(own_rig.config)], check=False, capture_output=True)
    try:
        if _writable(own_rig.config):
            pytest.skip("this file system cannot make a file unwritable for root")
        done = unfrag(own_rig, "apply", "--", "--block-size", "64")
    finally:
        subprocess.run(["chattr", "-i", str(own_rig.config)], check=False, capture_output=True)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert (own_rig.config.read_bytes(), own_rig.launcher.status().pid) == (before, pid)


def _writable(path):
    try:
        with path.open("ab"):
            return True
    except OSError:
        return False
