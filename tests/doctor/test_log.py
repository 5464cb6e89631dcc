import gzip
import os
import random
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unfrag.doctor.probes.log import parse, read, source
from unfrag.facts.values import Unknown

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB, GIB = 2**20, 2**30
TORCH = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 384.00 MiB. GPU 0 has a total capacity of "
    "23.65 GiB of which 102.00 MiB is free. Process 7 has 23.54 GiB memory in use. Of the allocated memory "
    "21.90 GiB is allocated by PyTorch, and 402.11 MiB is reserved by PyTorch but unallocated."
)


def test_pytorchs_numbers_are_read_through_prefix_and_colour():
    (oom,) = parse(f"\x1b[36m(Worker_TP0 pid=9)\x1b[0m ERROR 11-22 {TORCH}\r\n").ooms
    assert (oom.asked, oom.free, oom.unallocated) == (384 * MIB, 102 * MIB, int(402.11 * MIB))
    assert (oom.rank, oom.total, oom.allocated) == ("Worker_TP0", int(23.65 * GIB), int(21.90 * GIB))


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_terminal_that_broke_the_lines(width):
    prefix = "(EngineCore_DP0 pid=7) ERROR 11-22 10:00:00 [core.py:1] "
    lines = [
        prefix + f'  File "/usr/lib/python3.12/site-packages/vllm/v1/worker/gpu_worker.py", line {n}, in load_model'
        for n in range(5)
    ]
    broken = [line[i : i + width] for line in [*lines, prefix + TORCH] for i in range(0, len(line), width)]
    (oom,) = parse("\n".join(broken)).ooms
    assert (oom.asked, oom.unallocated) == (384 * MIB, int(402.11 * MIB))
    assert oom.frames[-1] == "gpu_worker.py:load_model"


def test_two_ranks_that_write_through_each_other():
    one, two = TORCH.split(" GPU 0 ")
    text = (
        f"(Worker_TP0 pid=1) ERROR {one}\n(Worker_TP1 pid=2) ERROR {one.replace('384', '512')}\n"
        f"(Worker_TP0 pid=1) GPU 0 {two}\n(Worker_TP1 pid=2) GPU 1 {two}\n"
    )
    first, second = parse(text).ooms
    assert (first.asked, first.gpu, second.asked, second.gpu) == (384 * MIB, 0, 512 * MIB, 1)


def test_the_old_wording_of_pytorch():
    (oom,) = parse(
        "RuntimeError: CUDA out of memory. Tried to allocate 1.63 GiB (GPU 1; 44.56 GiB total capacity; "
        "27.91 GiB already allocated; 565.31 MiB free; 27.93 GiB reserved in total by PyTorch)"
    ).ooms
    assert (oom.gpu, oom.total, oom.free) == (1, int(44.56 * GIB), int(565.31 * MIB))
    assert oom.unallocated == pytest.approx(0.02 * GIB, abs=2)


def test_the_articles_lines():
    log = parse("Allocating block for layer 11...\nFree memory: 1.2 GiB, allocation failed\nINFO bye")
    event = log.last("free_but_failed")
    assert event is not None
    assert event.numbers == {"free": 1.2 * GIB}
    assert log.last_line == "INFO bye"
    assert parse("timeout waiting for model load").last("load_timeout")


def test_free_memory_that_nobody_was_refused_is_no_failure():
    log = parse("INFO Free memory: 1.2 GiB\nINFO Available KV cache memory: 8.1 GiB")
    assert log.ooms == ()
    assert log.last("free_but_failed") is None
    assert log.last("kv_available").numbers == {"kv": 8.1 * GIB}


def test_what_a_user_asked_is_no_evidence():
    assert parse(f"INFO Received request cmpl-1: prompt: 'why {TORCH}'").ooms == ()


START = "INFO 01-01 00:00:00 [api_server.py:1] vLLM API server version 0.11.0\n"
READY = "INFO:     Application startup complete.\n"


def test_starts_are_told_apart_and_so_are_start_up_and_run_time():
    log = parse(START + TORCH + "\n" + START + READY + TORCH.replace("384", "512"))
    first, second = log.ooms
    assert (first.life, first.ready, second.life, second.ready) == (1, False, 2, True)
    assert (log.lives, log.ready) == (2, True)


def test_load_lines_of_three_engines():
    said = parse(
        "INFO [loggers.py] Engine 000: Avg prompt throughput: 1.0 tokens/s, Avg generation throughput: 0.0 tokens/s, "
        "Running: 5 reqs, Waiting: 50 reqs, GPU KV cache usage: 99.2%, Prefix cache hit rate: 12.1%\n"
        "[2026-01-02 03:04:05 TP0] Decode batch. #running-req: 7, #token: 1, token usage: 0.98, "
        "gen throughput (token/s): 12.3, #queue-req: 20\n"
        "INFO metrics.py:449] Avg generation throughput: 9.0 tokens/s, Running: 3 reqs, Pending: 4 reqs, "
        "GPU KV cache usage: 50.0%, CPU KV cache usage: 0.0%."
    ).loads
    assert [(x.running, x.waiting, x.usage) for x in said] == [(5, 50, 0.992), (7, 20, 0.98), (3, 4, 0.5)]


@pytest.mark.parametrize(
    "written",
    [
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-le"),
        lambda text: gzip.compress(text.encode()),
        lambda text: zstd.compress(text.encode()),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace(" ", " \0").encode(),
    ],
    ids=["utf-16", "utf-16-le", "gzip", "zstd", "crlf", "bom", "nul"],
)
def test_every_way_a_log_is_kept(tmp_path, written):
    path = tmp_path / "log.txt"
    path.write_bytes(written(START + TORCH + "\n" + "INFO nothing\n" * 50))
    log = read(path)
    assert not isinstance(log, Unknown)
    assert (log.lives, len(log.ooms), log.ooms[0].asked) == (1, 1, 384 * MIB)


def test_a_compressed_log_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path):
    path = tmp_path / "log.txt.gz"
    path.write_bytes(
        gzip.compress((START + TORCH + "\n").encode() + random.Random(1).randbytes(200_000).hex().encode())[:-500]
    )
    log = read(path)
    assert not isinstance(log, Unknown)
    assert len(log.ooms) == 1
    assert "damaged" in log.note


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.mkdir()])
def test_what_is_no_file_is_not_waited_for(tmp_path, make):
    path = tmp_path / "log.txt"
    make(path)
    log = read(path)
    assert isinstance(log, Unknown)
    assert "no regular file" in log.why


def test_a_bomb_is_left_when_time_is_up(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "_INFLATED_AT_MOST", 8 << 20)
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(b"INFO nothing at all\n" * 2_000_000))
    log = read(path)
    assert not isinstance(log, Unknown)
    assert "stopped" in log.note


def test_memory_does_not_grow_with_a_line_of_ten_megabytes(tmp_path):
    path = tmp_path / "log.txt"
    path.write_bytes(b"x" * 10_000_000 + b" " + TORCH.encode() + b"\n" + TORCH.encode() + b"\n")
    log = read(path)
    assert not isinstance(log, Unknown)
    assert len(log.ooms) == 1


def test_binary_noise_and_endless_lines_in_a_file(tmp_path):
    path = tmp_path / "glm_vllm.log"
    path.write_bytes(
        b"x" * 3_000_000 + b"\n" + bytes(range(256)) * 10 + b"\n" + TORCH.encode() + b"\ncut off in the midd"
    )
    log = read(path)
    assert not isinstance(log, Unknown)
    assert len(log.ooms) == 1
    assert isinstance(read(tmp_path / "none"), Unknown)


def test_noise_and_nothing_are_unknown_and_not_healthy(tmp_path):
    path = tmp_path / "glm_vllm.log"
    for content, said in ((random.Random(0).randbytes(50_000), "is not text"), (b"\n \n", "is empty")):
        path.write_bytes(content)
        log = read(path)
        assert isinstance(log, Unknown)
        assert said in log.why


def test_an_oom_without_numbers_is_said_too():
    assert parse("torch.cuda.OutOfMemoryError: CUDA out of memory.").last("bare_oom")


PIECES = st.sampled_from(
    [
        START,
        READY,
        TORCH,
        "Tried to allocate",
        " GiB is free",
        "\x1b[31m",
        "\0",
        "\r\n",
        "\ufeff",
        "Traceback (most recent call last):\n",
        '  File "a.py", line 1, in f\n',
        "9" * 400 + " GiB",
        "Running: 9 reqs",
    ]
)


@given(st.lists(PIECES | st.text(max_size=60), max_size=25))
def test_no_text_breaks_it(pieces):
    parse("".join(pieces))


@given(st.binary(max_size=4000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_break_it(tmp_path, content):
    path = tmp_path / "log.txt"
    path.write_bytes(content)
    read(path)
