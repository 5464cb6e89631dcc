"""A server in a real container, started by podman-compose: its flags change by an override, and come back."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from unfrag.flags.line import read_flags
from unfrag.launchers.compose.service import ComposeService
from unfrag.rig import environment
from unfrag.rig.model import ensure_model
from unfrag.rig.server import free_port
from unfrag.server.ready import wait_ready

pytestmark = pytest.mark.slow
IMAGE = "localhost/unfrag-test-empty"


def run(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)


@pytest.fixture
def service(tmp_path):
    """vLLM of this machine in a container without anything of its own: every folder it needs is mounted."""
    if shutil.which("podman-compose") is None:
        pytest.skip("podman-compose is not installed")
    (tmp_path / "empty.tar").write_bytes(bytes(10240))  # two zero blocks end an archive
    if run("podman", "import", str(tmp_path / "empty.tar"), IMAGE).returncode:
        pytest.skip("podman cannot import an image here")
    port, model = free_port(), ensure_model()
    used = ("/usr", "/lib", "/lib64", "/bin", "/etc", "/tmp", sys.prefix, sys.base_prefix, Path.cwd(), model)
    folders = sorted({f"/{Path(folder).parts[1]}" for folder in used if Path(folder).exists()})
    command = [*shlex.split(environment.command(model, port)), "--num-gpu-blocks-override", "257", "--block-size", "32"]
    vllm = {
        "image": IMAGE,
        "network_mode": "host",
        "ulimits": {"nofile": 1024, "nproc": 4096},
        "volumes": [f"{folder}:{folder}" for folder in folders],
        "environment": {**environment.environment(), "HOME": str(Path.home())},
        "command": command,
    }
    file = tmp_path / "docker-compose.yml"
    file.write_text(json.dumps({"version": "3", "services": {"vllm": vllm}}))  # JSON is YAML
    try:
        up = run("podman-compose", "-f", str(file), "up", "-d", cwd=tmp_path)
        launcher = ComposeService(file, "vllm")
        if up.returncode or launcher.status().failed:
            pytest.skip(f"no container can be started here: {up.stderr[-300:]}")
        wait_ready(f"http://127.0.0.1:{port}", 120, lambda: None, launcher.tail)
        yield launcher, file, f"http://127.0.0.1:{port}"
    finally:
        run("podman-compose", "-f", str(file), "down", "--timeout", "5", cwd=tmp_path)
        run("podman", "rmi", "--force", IMAGE)


def test_apply_and_rollback(service):
    launcher, file, url = service
    before = file.read_bytes()

    def unfrag(verb, *words):
        return run(sys.executable, "-m", "unfrag", verb, "--compose", str(file), *words, timeout=300)

    def block_size():
        return httpx.get(f"{url}/health").json()["memory_stats"]["block_size_tokens"]

    done = unfrag("apply", "--", "--block-size", "64")
    assert done.returncode == 0, done.stderr
    assert (block_size(), launcher.read().url) == (64, url)
    assert read_flags(launcher.running()) == read_flags(launcher.read().command)

    done = unfrag("apply", "--", "--max-model-len", "9000000")
    assert done.returncode == 4, done.stderr
    assert "max_model_len" in done.stderr, "the container's last lines are shown"
    assert block_size() == 64

    done = unfrag("rollback")
    assert done.returncode == 0, done.stderr
    assert block_size() == 32
    assert file.read_bytes() == before
    assert launcher.read().content == b"", "the override is gone"
