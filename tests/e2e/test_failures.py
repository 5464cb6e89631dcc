"""Servers that never come up: one clear line, the right error, and no process left behind."""

import ctypes
import shutil
import signal
import socket
import subprocess
import sys

import httpx
import psutil
import pytest

from tests.waiting import until
from unfrag.errors import NeverReady, NotEnoughEvidence
from unfrag.rig.model import ensure_model
from unfrag.rig.server import Rig

_PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture
def nothing_left():
    """After the test, none of the processes that it started may be alive, orphans included."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)  # orphans become children of this process
    before = _living_children()
    yield
    left = [process for process in _living_children() if process not in before]
    assert [(process.pid, process.cmdline()) for process in left] == []


def _living_children():
    """Every descendant of this process, zombies aside."""
    return [child for child in psutil.Process().children(recursive=True) if _is_living(child)]


def _is_living(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.usefixtures("nothing_left")
def test_a_taken_port_is_said_with_the_logs_last_lines():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with Rig({"--port": str(port), "--num-gpu-blocks-override": "65"}) as rig:
            with pytest.raises(NeverReady, match="will not come up") as caught:
                rig.wait_ready()
            pids = [p.pid for p in rig.processes()]
    assert "address already in use" in str(caught.value).lower()
    assert not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.usefixtures("nothing_left")
def test_a_server_that_takes_too_long_is_given_up_and_ended():
    with Rig({"--num-gpu-blocks-override": "65"}) as rig, pytest.raises(NeverReady, match=r"not ready after 3 s"):
        rig.wait_ready(timeout=3)


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.slow
def test_a_broken_model_folder(tmp_path):
    with pytest.raises(NotEnoughEvidence, match=r"no config\.json"), Rig(model=tmp_path):
        pass
    broken = tmp_path / "broken"
    shutil.copytree(ensure_model(), broken)
    weights = next(broken.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    with Rig(model=broken) as rig, pytest.raises(NeverReady, match="the last lines of") as caught:
        rig.wait_ready()
    assert "\n  " in str(caught.value)


@pytest.mark.usefixtures("nothing_left")
def test_a_killed_caller_takes_its_rig_along():
    """SIGKILL leaves the caller no chance to clean up: supervisord is told by the kernel."""
    code = (
        "from unfrag.rig.server import Rig\n"
        "with Rig({'--num-gpu-blocks-override': '65'}) as rig:\n"
        "    print(rig._supervisord.process.pid, flush=True)\n"
        "    rig.wait_ready(300)\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert caller.stdout is not None
    supervisord = psutil.Process(int(caller.stdout.readline()))
    until(supervisord.children)
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    supervisord.wait(40)


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
def test_without_the_plugin_diagnose_says_how_to_enable_it():
    with Rig({"--num-gpu-blocks-override": "65"}, env={"VLLM_PLUGINS": ""}) as rig:
        rig.wait_ready()
        assert httpx.get(f"{rig.url}/health").content == b""
        assert httpx.post(f"{rig.url}/flush_cache").status_code == 404
        for verb in ("diagnose", "flush"):
            done = subprocess.run(
                [sys.executable, "-m", "unfrag", verb, "--url", rig.url], capture_output=True, text=True, check=False
            )
            assert done.returncode == (0 if verb == "diagnose" else 3)
            assert "unfrag serve" in " ".join((done.stdout + done.stderr).split())


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("sign", "when"),
    [
        (signal.SIGTERM, "ready"),
        (signal.SIGINT, "unfrag.engine.vllm.serve"),
        pytest.param(signal.SIGTERM, "EngineCore", marks=pytest.mark.slow),
    ],
)
def test_serve_rig_answers_and_ends_on_one_signal(sign, when):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["serve", "--rig", "--port", str(port), "--kv-cache-dtype", "fp16", "--num-gpu-blocks-override", "65"]
    server = subprocess.Popen(
        [sys.executable, "-m", "unfrag", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        if when == "ready":
            assert until(lambda: _healthy(port, server)).json()["memory_stats"]["total_blocks"] == 64
        else:
            until(lambda: _has_child(server, when))
    finally:
        server.send_signal(sign)
        _, err = server.communicate(timeout=60)
    assert server.returncode == 0, err.decode()[-2000:]


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.slow
def test_ctrl_c_twice_during_a_bench_leaves_nothing(rig, tmp_path):
    words = ["bench", "--url", rig.url, "--out", str(tmp_path / "a.json"), "--mean-tokens", "300"]
    bench = subprocess.Popen([sys.executable, "-m", "unfrag", *words], stderr=subprocess.PIPE)
    until(lambda: _has_child(bench, "forkserver"))
    bench.send_signal(signal.SIGINT)
    until(lambda: bench.poll() is not None or not bench.send_signal(signal.SIGINT))
    _, err = bench.communicate(timeout=60)
    assert bench.returncode == 130, err.decode()[-2000:]
    assert not (tmp_path / "a.json").exists()


def _has_child(parent, word):
    """Does a descendant of this process have the word in its command line?"""
    try:
        children = psutil.Process(parent.pid).children(recursive=True)
        return any(word in " ".join(child.cmdline()) for child in children)
    except psutil.NoSuchProcess:
        return False


def _healthy(port, server):
    assert server.poll() is None
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False)
    except httpx.TransportError:
        return None
    return answer if answer.status_code == 200 else None
