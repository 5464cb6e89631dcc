"""Trouble made for real on a rig, and found: by the live diagnosis, from the server, its log and its launch line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from tests.conftest import SMALL_POOL
from tests.waiting import until
from unfrag import cli
from unfrag.apply.no_worse import Before
from unfrag.doctor import collect, diagnosis
from unfrag.doctor.probes import launch
from unfrag.doctor.rules.thresholds import load_thresholds
from unfrag.errors import NeverReady
from unfrag.rig import environment
from unfrag.rig.environment import SERVED_NAME
from unfrag.rig.model import ensure_model
from unfrag.rig.server import Rig

GIB = 2**30
HOLD = """
import sys
held = bytearray(int(sys.argv[1]))
held[::4096] = b"x" * len(held[::4096])
print("held", flush=True)
sys.stdin.read()
"""


def looked_at(rig):
    line = launch.of_text(rig.launcher.read().command, str(rig.config))
    return collect.live(collect.Asked(rig.url, rig.log, launch=line))


def diagnosed(rig):
    return diagnosis.diagnose(looked_at(rig), load_thresholds())


def finding(rig, cause):
    return next((found for found in diagnosed(rig).findings if found.cause == cause), None)


def best_of_a_failed_start(flags, **more):
    with Rig(flags, **more) as rig:
        with pytest.raises(NeverReady):
            rig.wait_ready()
        return diagnosed(rig).findings[0]


def complete(rig, seed, tokens, answer):
    prompt = [10 + (seed * 7919 + i * 104729) % 8000 for i in range(tokens)]
    body = {"model": SERVED_NAME, "prompt": prompt, "max_tokens": answer, "temperature": 0, "ignore_eos": True}
    return httpx.post(f"{rig.url}/v1/completions", json=body, timeout=120, trust_env=False).raise_for_status()


def engine_core(rig):
    (process,) = [p for p in rig.processes() if "EngineCore" in "".join(p.cmdline())]
    return process


def test_a_context_larger_than_the_pool():
    found = best_of_a_failed_start({"--block-size": "32", "--num-gpu-blocks-override": "9"})
    assert found.cause == "kv_pool_too_small"
    assert found.confidence > 0.9


def test_a_flag_that_does_not_exist():
    found = best_of_a_failed_start({"--enable-router-memory": None})
    assert found.cause == "unsupported_flag"
    assert "--enable-router-memory" in found.summary


def test_an_entry_point_that_does_not_exist(tmp_path):
    command = [sys.executable, "-m", "vllm.entrypoints.api_server", "--model", "x"]
    with (tmp_path / "log.txt").open("wb") as log:
        subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
    found = diagnosis.diagnose(collect.evidence(tmp_path), load_thresholds())
    assert found.verdict == "wrong_entrypoint_or_version"


@pytest.mark.slow
def test_another_process_holds_the_memory_that_was_meant_for_the_cache():
    """On a CPU the budget is host memory. The cache would fit beside nobody."""
    wanted = int(psutil.virtual_memory().available / GIB) - 3
    hog = subprocess.Popen([sys.executable, "-c", HOLD, str(4 * GIB)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert hog.stdout is not None
    try:
        assert hog.stdout.readline() == b"held\n"
        found = best_of_a_failed_start({}, env={"VLLM_CPU_KVCACHE_SPACE": str(wanted)})
    finally:
        hog.kill()
        hog.wait()
    assert found.cause == "foreign_process"


def _may_mount() -> bool:
    return subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _may_mount(), reason="mounting a small /dev/shm needs a mount namespace")
@pytest.mark.slow
def test_a_dev_shm_of_docker_size_with_two_ranks(tmp_path):
    model = ensure_model()
    server = environment.command(model, 0).replace("--port 0", "--port 1") + " --tensor-parallel-size 2"
    script = f"mount -t tmpfs -o size=256k tmpfs /dev/shm && exec timeout 120 {server}"
    with (tmp_path / "log.txt").open("wb") as log:
        subprocess.run(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", script],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | environment.environment(2),
            check=False,
        )
    (tmp_path / "launch.txt").write_text(server)
    found = diagnosis.diagnose(collect.evidence(tmp_path), load_thresholds())
    assert found.verdict == "shm_too_small", (tmp_path / "log.txt").read_text()[-2000:]


@pytest.fixture(scope="module")
def crowded():
    """A pool of 40 blocks for up to sixteen requests."""
    with Rig({**SMALL_POOL, "--num-gpu-blocks-override": "41", "--max-model-len": "1024"}) as rig:
        rig.wait_ready()
        yield rig


def test_preemptions_under_a_pool_that_lets_too_many_in(crowded):
    before = [Before(crowded.url, severity, load_thresholds()) for severity in ("warning", "critical", "never")]
    with ThreadPoolExecutor(12) as clients:
        list(clients.map(lambda seed: complete(crowded, seed, 60, 300), range(24)))
    worse = [[line.split(" ")[0] for line in one.worse(crowded.url)] for one in before]
    assert ["preemption_thrash" in causes for causes in worse] == [True, False, False]
    found = finding(crowded, "preemption_thrash")
    assert found is not None
    assert "--max-num-seqs" in found.fixes[0]
    (card,) = diagnosed(crowded).ledger
    assert sum(line.bytes for line in card.lines) == card.total_bytes


@pytest.mark.slow
def test_a_pool_that_churn_scattered(rig):
    """Said as a fact worth knowing: nothing on this server hands blocks on."""
    with ThreadPoolExecutor(8) as clients:
        answers = [clients.submit(complete, rig, 100 + i, 64 + i % 7 * 96, 16 + i % 5 * 60) for i in range(60)]
        seen = until(lambda: finding(rig, "pool_fragmentation"))
        for answer in answers:
            answer.result()
    assert seen.severity == "info"
    assert "paged" in seen.summary


def test_an_engine_that_stands_still_then_one_that_is_killed(crowded):
    process = engine_core(crowded)
    process.send_signal(signal.SIGSTOP)
    try:
        thresholds = load_thresholds()
        thresholds["engine_stalled"]["age_seconds"] = 3

        def stalled():
            found = diagnosis.diagnose(looked_at(crowded), thresholds).findings
            return found and found[0].cause == "engine_stalled" and found[0]

        assert "not finished a step" in until(stalled).summary
    finally:
        process.send_signal(signal.SIGCONT)
    process.kill()
    found = until(
        lambda: (all_found := diagnosed(crowded).findings) and all_found[0].severity == "critical" and all_found[0]
    )
    assert found.cause == "engine_stalled"


def test_the_planner_reads_what_a_running_server_has_reserved(rig, capsys):
    httpx.post(f"{rig.url}/flush_cache", timeout=60, trust_env=False).raise_for_status()
    flags = ["--config", str(ensure_model()), "--gpu-memory", "8", "--formula", "--url", rig.url, "--json"]
    assert cli.main(["plan", *flags]) == 0
    spare = json.loads(capsys.readouterr().out)["reserved_and_unused"]
    pool = collect.live(collect.Asked(rig.url)).pool
    assert any(item["bytes"] == (pool.free_blocks - pool.cached_blocks) * pool.block_size_bytes for item in spare)
