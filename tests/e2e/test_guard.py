"""A guard at work on a real server under a real supervisord, and faults that are real: the right thing, in time."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading

import httpx
import pytest

from tests.conftest import SMALL_POOL
from tests.e2e.faults import complete, healthy, processes
from tests.e2e.guarding import Guard, served_again
from tests.e2e.verbs import unfrag
from tests.receiver import Receiver
from tests.waiting import until
from unfrag.rig.server import Rig
from unfrag.server.client import Server


@pytest.fixture(scope="module")
def rig():
    with Rig(SMALL_POOL) as rig:
        rig.wait_ready()
        yield rig


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
def test_a_server_without_the_plugin_is_asked_by_a_canary(tmp_path):
    with Rig(SMALL_POOL, env={"VLLM_PLUGINS": ""}) as bare:
        bare.wait_ready()
        assert httpx.get(f"{bare.url}/health", trust_env=False).content == b""

        def steps():
            with Server(bare.url) as server:
                return server.metrics().iterations

        with Guard(bare, tmp_path) as guard:
            first = steps() or 0
            until(lambda: steps() >= first + 3, 60)  # nobody else asks it anything
            assert guard.remembered()["rule"] == "healthy"
            before = bare.launcher.status().pid
            processes(bare)[1].suspend()
            until(lambda: guard.lines("restart"), 60)
            served_again(bare, guard, before)
        assert guard.actions() == [("restart", "stuck", "done")]


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


@pytest.mark.slow
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
def test_memory_above_its_limit_is_given_back_then_drained_and_restarted(rig, tmp_path):
    resident = httpx.get(f"{rig.url}/health?fresh=true", trust_env=False).json()["memory_stats"]["ranks"][0][
        "resident_bytes"
    ]
    before = rig.launcher.status().pid
    running = threading.Thread(target=lambda: answers.append(complete(rig, tokens=300).status_code))
    answers = []
    with Guard(rig, tmp_path, "--memory-limit", str(resident // 2), restart_full_cards=True) as guard:
        until(lambda: guard.lines("release"))
        until(lambda: guard.remembered()["state"]["since"].get("memory"))
        running.start()
        until(lambda: guard.lines("drain and restart"))
        running.join()
        until(lambda: rig.launcher.status().pid not in (0, before) and healthy(rig))
    assert answers == [200], "who was in was served to the end"
    assert guard.actions()[0] == ("release", "memory", "done")
    assert ("drain and restart", "memory", "done") in guard.actions()
    assert "drained" in guard.lines("drain and restart")[0]["result"]


@pytest.mark.slow
def test_a_configuration_that_never_comes_up_ends_with_one_page(rig, tmp_path):
    good = rig.config.read_bytes()
    before = rig.launcher.status().pid
    with Receiver() as receiver:  # it listens, but nobody answers yet: a webhook that hangs
        try:
            with Guard(rig, tmp_path, "--webhook", receiver.url, restarts_an_hour=2) as guard:
                until(lambda: guard.remembered()["rule"] == "healthy")
                rig.config.write_bytes(good.replace(b"--block-size 32", b"--block-size banana"))
                processes(rig)[0].kill()
                until(lambda: guard.lines("page"))
                receiver.serve()
                until(lambda: any(message["action"] == "page" for message in receiver.got))
                rig.config.write_bytes(good)
                rig.launcher.restart()
                served_again(rig, guard, before)
            assert [line["rule"] for line in guard.lines("restart", "page")] == ["ended", "ended", "budget"]
            assert "2 restarts in the last hour" in guard.lines("page")[0]["why"]
        finally:
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
@pytest.mark.parametrize("at", ["removeProcessGroup", "addProcessGroup"])
def test_a_change_that_was_cut_short_is_told_and_not_started(rig, tmp_path, monkeypatch, at):
    monkeypatch.setenv("UNFRAG_STATE", str(tmp_path / "state"))
    good, before = rig.config.read_bytes(), rig.launcher.status().pid
    with Guard(rig, tmp_path) as guard:
        until(lambda: guard.remembered()["rule"] == "healthy")
        command = [sys.executable, "-m", "tests.e2e.killed_at", at, str(tmp_path / "steps"), "--", "apply"]
        place = ["--config", str(rig.config), "--server", rig.server]
        done = subprocess.run([*command, *place, "--", "--block-size", "64"], check=False, capture_output=True)
        assert done.returncode == -9, done.stderr
        until(lambda: guard.lines("page"))
        assert guard.remembered()["rule"] == "unfinished change"
        assert rig.launcher.status().pid == 0
        assert unfrag(rig, "rollback").returncode == 0
        assert rig.config.read_bytes() == good
        served_again(rig, guard, before)
    assert guard.actions() == [("page", "unfinished change", "done")]


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
