"""SIGKILL of `unfrag apply` at any step: afterwards the file is the old or the new, and the server runs with it."""

from __future__ import annotations

import subprocess
import sys

import httpx
import pytest

from tests.conftest import SMALL_POOL
from unfrag.flags.line import read_flags
from unfrag.rig.server import Rig

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rig():
    with Rig(SMALL_POOL) as rig:
        rig.wait_ready()
        yield rig


def apply(rig, at, log, *words, verb="apply"):
    command = [sys.executable, "-m", "tests.e2e.killed_at", str(at), str(log), "--", verb, "--config", str(rig.config)]
    return subprocess.run(
        [*command, "--server", rig.server, *words], capture_output=True, text=True, timeout=300, check=False
    )


def test_afterwards_the_file_is_the_old_or_the_new_and_the_server_runs_with_it(rig, tmp_path):
    old = rig.config.read_bytes()
    log = tmp_path / "steps"
    done = apply(rig, 0, log, "--", "--block-size", "64")
    assert done.returncode == 0, done.stderr
    new, steps = rig.config.read_bytes(), log.read_text().splitlines()
    assert apply(rig, 0, tmp_path / "back", verb="rollback").returncode == 0
    assert rig.config.read_bytes() == old
    assert {"replace glm47flash.conf", "reloadConfig", "addProcessGroup", "POST /v1/completions"} <= set(steps)
    for at in range(1, len(steps) + 1):
        killed = apply(rig, at, tmp_path / f"killed{at}", "--", "--block-size", "64")
        assert killed.returncode == -9, (at, killed.stderr)
        assert rig.config.read_bytes() in (old, new), f"half a file before step {at}, {steps[at - 1]}"
        after = apply(rig, 0, tmp_path / f"after{at}", "--", "--block-size", "32")
        assert after.returncode == 0, (at, steps[at - 1], after.stderr)
        assert rig.config.read_bytes() == old
        assert read_flags(rig.launcher.running()) == read_flags(rig.launcher.read().command), (at, steps[at - 1])
        assert httpx.get(f"{rig.url}/health").status_code == 200
        assert read_flags(rig.launcher.read().command)["--block-size"] == "32"
