"""Twenty faults, one after another in a drawn order, on servers under load: each is answered rightly and in time.

What clients lose is counted: a request that no fault touched must be served, and none that the server finished is lost.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import time

import httpx
import pytest

from tests.conftest import SMALL_POOL
from tests.e2e import faults
from tests.e2e.guarding import Guard, served_again
from tests.receiver import Receiver
from tests.waiting import until
from unfrag.rig.server import Rig, free_port

pytestmark = pytest.mark.slow

SEED = 20261123
STARTS_WITHIN = 180  # seconds until a guard has seen a server healthy: two ranks that spin leave little of two cores


class Scene:
    """A rig under load and, round by round, the guard over it; when which fault was at work."""

    def __init__(self, rig, load, folder):
        self.rig, self.load, self.folder = rig, load, folder
        self.windows: list[tuple[float, float]] = []
        self.told: list[str] = []

    @contextlib.contextmanager
    def guard(self, *words, own=None, **policy):
        """One guard's memory goes on from round to round, unless a round wants ``own``."""
        folder = self.folder / (own or "guard")
        folder.mkdir(exist_ok=True)
        begun = time.monotonic()
        with Guard(self.rig, folder, *words, **policy) as guard:
            until(lambda: guard.has_seen_it_healthy(begun), STARTS_WITHIN)
            guard.seen = len(guard.actions())
            yield guard

    @contextlib.contextmanager
    def fault(self):
        begun = time.monotonic()
        yield
        until(lambda: faults.healthy(self.rig))
        self.windows.append((begun, time.monotonic()))

    def pid(self):
        return self.rig.launcher.status().pid


def did(guard):
    return guard.actions()[guard.seen :]


def restarted(scene, inject, rules, within, *words, **policy):
    """The fault is answered by one restart, for one of these reasons."""
    with scene.guard(*words, **policy) as guard:
        before, begun = scene.pid(), time.monotonic()
        with scene.fault():
            inject()
            until(lambda: did(guard), within)
            scene.told.append(f"{did(guard)[0][1]} after {time.monotonic() - begun:.0f} s")
            served_again(scene.rig, guard, before)
        ((action, rule, outcome),) = did(guard)
        assert (action, outcome) == ("restart", "done")
        assert rule in rules


def engine_killed(scene):
    restarted(scene, faults.processes(scene.rig)[1].kill, {"dead", "ended", "refused"}, 15)


def worker_killed(scene):
    """The other rank waits for it without end: to /health all is well, and only the engine's silence tells."""
    restarted(scene, faults.worker(scene.rig).kill, {"dead", "ended", "refused", "stuck"}, 40)


def engine_stopped(scene):
    restarted(scene, faults.processes(scene.rig)[1].suspend, {"stuck"}, 40)


def api_server_hung(scene):
    restarted(scene, faults.processes(scene.rig)[0].suspend, {"silent"}, 60)


def supervisord_restarted(scene):
    """It starts its programs by itself: there is nothing to do but to wait."""
    with scene.guard() as guard:
        before = scene.pid()
        with scene.fault():
            faults.restart_supervisord(scene.rig)
            until(lambda: _pid(scene.rig) not in (0, before), 60)
            served_again(scene.rig, guard, before)
        assert did(guard) == []


def _pid(rig):
    with contextlib.suppress(Exception):
        return rig.launcher.status().pid
    return 0


def log_disk_full(scene):
    small = scene.folder / f"small{len(scene.windows)}"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with contextlib.suppress(OSError), (small / "ballast").open("wb") as ballast:
            ballast.write(b"x" * 65536)
        with scene.guard("--log", str(small / "audit.jsonl")) as guard:
            before = scene.pid()
            with scene.fault():
                faults.processes(scene.rig)[1].kill()
                served_again(scene.rig, guard, before)
            assert guard.remembered()["state"]["restarts"]
    finally:
        subprocess.run(["umount", str(small)], check=True)


def pool_fragmented(scene):
    """Moved together while requests run: none of them may notice. Nothing cached is dropped for it."""
    with scene.guard(
        own=f"pool{len(scene.told)}", largest_free_block=30, flush_cool_down=60.0, runs_matter=True
    ) as guard:
        until(lambda: guard.lines("compact"), 60)
        assert did(guard) == [("compact", "scattered", "done")]
        scene.told.append(guard.lines("compact")[0]["result"])


def memory_above_its_limit(scene):
    health = httpx.get(f"{scene.rig.url}/health?fresh=true", trust_env=False).json()
    limit = health["memory_stats"]["ranks"][0]["resident_bytes"] // 2
    begun, before = time.monotonic(), scene.pid()
    words = ("--memory-limit", str(limit))  # it was above that from its start: the article's rule counts that too
    with scene.guard(*words, own=f"memory{len(scene.told)}", restart_full_cards=True) as guard:
        until(lambda: guard.remembered()["acting"], 60)
        drains = time.monotonic()
        until(lambda: guard.lines("drain and restart"), 60)
        with scene.fault():
            until(lambda: scene.pid() not in (0, before) and faults.healthy(scene.rig))
        scene.windows[-1] = (begun, scene.windows[-1][1])
    done = [line["event"] for line in guard.lines("release", "restart", "drain and restart", "page")]
    *relieved, last = done[: done.index("drain and restart") + 1]
    assert set(relieved) == {"release"}, "memory that goes up and down is given back before anything else is done"
    assert last == "drain and restart"
    drained = guard.lines("drain and restart")[0]["result"]
    assert drained.startswith("drained"), "all who were in came to their end"
    scene.told.append(drained)
    in_before = [one for one in scene.load.asked if begun <= one[1] and one[0] < drains]
    assert {came for _, _, came in in_before} == {"served"}, "who was in is served to the end"


def never_ready(scene):
    """Two restarts, one page, and then it is left alone until a human mends it."""
    good = scene.rig.config.read_bytes()
    with scene.guard(own=f"never{len(scene.told)}", restarts_an_hour=2) as guard:
        before = scene.pid()
        with scene.fault():
            try:
                scene.rig.config.write_bytes(good.replace(b"--block-size 32", b"--block-size banana"))
                faults.processes(scene.rig)[0].kill()
                until(lambda: guard.lines("page"))
            finally:
                scene.rig.config.write_bytes(good)
            scene.rig.launcher.restart()
            served_again(scene.rig, guard, before)
        assert [(action, outcome) for action, _, outcome in did(guard)] == [("restart", "done")] * 2 + [
            ("page", "done")
        ]
        assert "2 restarts in the last hour" in guard.lines("page")[0]["why"]


def webhook_dead(scene):
    port = free_port()
    with scene.guard("--webhook", f"http://127.0.0.1:{port}/") as guard:
        before = scene.pid()
        with scene.fault():
            faults.processes(scene.rig)[1].kill()
            served_again(scene.rig, guard, before)
        with Receiver(port) as receiver:  # back again: it is told now
            receiver.serve()
            until(lambda: any(message["action"] == "restart" for message in receiver.got), 60)


def guard_killed_in_a_restart(scene):
    with scene.guard() as guard:
        before = scene.pid()
        with scene.fault():
            faults.processes(scene.rig)[0].suspend()  # such a one takes supervisord long to stop
            until(lambda: guard.remembered()["acting"], 60)
            guard.killed()
            with Guard(scene.rig, scene.folder / "guard") as second:
                served_again(scene.rig, second, before)
                assert second.remembered()["acting"] is None
                assert second.lines("restart")[-1]["outcome"] == "done"


def goes_on(load, answers):
    """Service as usual for so many answers."""
    served = load.served()
    until(lambda: load.served() > served + answers)


ONE_RANK = (
    *(engine_killed, engine_stopped, api_server_hung, supervisord_restarted, log_disk_full, pool_fragmented) * 2,
    *(memory_above_its_limit, never_ready, webhook_dead, guard_killed_in_a_restart, engine_killed),
)
TWO_RANKS = (worker_killed, engine_stopped, worker_killed)


@pytest.mark.parametrize(("ranks", "rounds"), [(1, ONE_RANK), (2, TWO_RANKS)], ids=["one rank", "two ranks"])
def test_faults_under_load(ranks, rounds, tmp_path, capsys):
    order = random.Random(SEED).sample(rounds, len(rounds))
    with Rig(SMALL_POOL, ranks=ranks) as rig:
        rig.wait_ready()
        with faults.Load(rig, clients=8 // ranks) as load:
            scene = Scene(rig, load, tmp_path)
            for number, fault in enumerate(order, 1):
                goes_on(load, 80 // ranks)
                begun = time.monotonic()
                fault(scene)
                with capsys.disabled():
                    print(f"\n{number:2d} {fault.__name__}: {time.monotonic() - begun:.0f} s {scene.told[-1:]}", end="")
            goes_on(load, 80 // ranks)
        could = [one for one in load.asked if not any(one[0] < end and one[1] > begin for begin, end in scene.windows)]
        served = [one for one in could if one[2] == "served"]
        with capsys.disabled():
            print(f"\n{len(load.asked)} requests, {len(could)} that no fault touched, {len(served)} of them served")
        assert len(could) > 40 * len(rounds) // ranks
        assert len(served) >= 0.999 * len(could), [one for one in could if one[2] != "served"]


def test_five_minutes_of_heavy_load_are_left_alone(tmp_path, capsys):
    with Rig(SMALL_POOL) as rig:
        rig.wait_ready()
        with Guard(rig, tmp_path, largest_free_block=0) as guard, faults.Load(rig, 24, (160,), (150,)) as load:
            until(lambda: len(load.asked) >= 60, 120)
            until(lambda: time.monotonic() - load.asked[0][0] >= 300, 400)
        with capsys.disabled():
            print(f"\n{len(load.asked)} requests in five minutes")
        assert guard.actions() == []
        assert {came for _, _, came in load.asked} == {"served"}
