"""A server under a real systemd of this user: its flags change by a drop-in, and come back."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from unfrag.flags.line import read_flags
from unfrag.launchers.systemd import SystemdUnit
from unfrag.rig import environment
from unfrag.rig.model import ensure_model
from unfrag.rig.server import free_port
from unfrag.server.ready import wait_ready

pytestmark = pytest.mark.slow


def systemctl(*words):
    return subprocess.run(["systemctl", "--user", *words], capture_output=True, text=True, check=False)


@pytest.fixture
def unit():
    if systemctl("list-units").returncode:
        pytest.skip("this user has no systemd")
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"
    folder.mkdir(parents=True, exist_ok=True)
    file, port = folder / "unfrag-test-server.service", free_port()
    variables = "".join(f'Environment="{key}={value}"\n' for key, value in environment.environment().items())
    command = environment.command(ensure_model(), port) + " --num-gpu-blocks-override 257 --block-size 32"
    file.write_text(f"[Service]\n{variables}ExecStart={command.replace('%', '%%')}\n")
    try:
        systemctl("daemon-reload")
        assert systemctl("start", file.name).returncode == 0
        url = f"http://127.0.0.1:{port}"
        wait_ready(url, 120, lambda: None)
        yield file.name, url
    finally:
        systemctl("stop", file.name)
        file.unlink()
        drop_in = folder / f"{file.name}.d" / "50-unfrag.conf"
        drop_in.unlink(missing_ok=True)
        if drop_in.parent.exists():
            drop_in.parent.rmdir()
        systemctl("daemon-reload")


def test_apply_and_rollback(unit):
    name, url = unit

    def unfrag(verb, *words):
        command = [sys.executable, "-m", "unfrag", verb, "--unit", name, "--user", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    def block_size():
        return httpx.get(f"{url}/health").json()["memory_stats"]["block_size_tokens"]

    done = unfrag("apply", "--", "--block-size", "64")
    assert done.returncode == 0, done.stderr
    assert block_size() == 64
    done = unfrag("apply", "--", "--max-model-len", "900000")
    assert done.returncode == 4, done.stderr
    assert block_size() == 64
    done = unfrag("rollback")
    assert done.returncode == 0, done.stderr
    assert block_size() == 32
    launcher = SystemdUnit(name, user=True)
    assert read_flags(launcher.running()) == read_flags(launcher.read().command)
    assert launcher.read().content == b"", "the drop-in is gone"
    assert shlex.split(launcher.read().command)[0] == sys.executable
