"""`diagnose --follow`: what is new in a growing log, over rotations, until Ctrl-C; its last verdict's exit code."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.waiting import until
from unfrag.doctor.probes.log.follow import Following

OOM = (
    "INFO 11-22 10:00:00 [core.py:3] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.96 GiB. GPU 0 has "
    "a total capacity of 79.18 GiB of which 1.08 GiB is free.\n"
)
TOO_LONG = (
    "ERROR 11-22 10:00:00 [core.py:3] ValueError: To serve at least one request with the models's max seq len (16384), "
    "(1.29 GiB KV cache is needed, which is larger than the available KV cache memory (0.80 GiB). Based on the "
    "available memory, the estimated maximum model length is 10112. Try increasing `gpu_memory_utilization` or "
    "decreasing `max_model_len` when initializing the engine.\n"
)


def started(tmp_path, *words, **more):
    command = [sys.executable, "-m", "unfrag", "diagnose", "--url", "http://127.0.0.1:1", "--follow", *words]
    out = (tmp_path / "out").open("w")
    return subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, "PYTHONUNBUFFERED": "1"}, **more)


def test_a_rotated_and_a_cut_log_are_followed(tmp_path):
    path = tmp_path / "vllm.log"
    path.write_text("a\n")
    following = Following(path)
    assert following.grow()
    assert not following.grow()
    with path.open("a") as file:
        file.write("b\nhalf")
    path.rename(tmp_path / "vllm.log.1")
    assert following.grow()
    path.write_text(OOM)
    assert following.grow()
    assert following.log().counts["oom"] == 1
    path.write_text("c\n")
    assert following.grow()
    assert following.log().last_line == "c"


def test_what_appears_is_said_and_ctrl_c_ends_it_with_its_code(tmp_path):
    path = tmp_path / "vllm.log"
    path.write_text("INFO 11-22 10:00:00 [core.py:3] hello\n")
    process = started(tmp_path, "--log", str(path))
    said = tmp_path / "out"
    until(lambda: "follows" in said.read_text(), 30)
    with path.open("a") as file:
        file.write(TOO_LONG)
    until(lambda: "appears: critical UF004 kv_pool_too_small" in said.read_text(), 30)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 1


def test_a_pipe_is_followed_to_its_end(tmp_path):
    process = started(tmp_path, "--log", "-", "--json", stdin=subprocess.PIPE)
    process.communicate(TOO_LONG.encode(), timeout=60)
    first = json.loads((tmp_path / "out").read_text().splitlines()[0])
    assert (process.returncode, first["what"], first["finding"]["id"]) == (1, "appears", "UF004")


@pytest.mark.parametrize("words", [["--evidence", "x"], []])
def test_without_a_log_there_is_nothing_to_follow(capsys, words):
    from unfrag.cli import main

    assert main(["diagnose", "--follow", *words]) == 2
    assert "--follow" in capsys.readouterr().err
