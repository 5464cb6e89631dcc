import random

from hypothesis import given
from hypothesis import strategies as st

from unfrag.facts import Unknown
from unfrag.probes.log import parse, read

MIB, GIB = 2**20, 2**30
TORCH = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 384.00 MiB. GPU 0 has a total capacity of "
    "23.65 GiB of which 102.00 MiB is free. Process 7 has 23.54 GiB memory in use. Of the allocated memory "
    "21.90 GiB is allocated by PyTorch, and 402.11 MiB is reserved by PyTorch but unallocated."
)


def test_pytorchs_numbers_are_read_through_prefix_and_colour():
    (failure,) = parse([f"\x1b[36m(Worker_TP0 pid=9)\x1b[0m ERROR 11-22 {TORCH}\r\n"]).failures
    assert failure.asked_bytes == 384 * MIB
    assert failure.free_bytes == 102 * MIB
    assert failure.reserved_unallocated_bytes == int(402.11 * MIB)


def test_the_articles_lines():
    log = parse(["Allocating block for layer 11...", "Free memory: 1.2 GiB, allocation failed", "INFO bye"])
    (failure,) = log.failures
    assert failure.free_bytes == int(1.2 * GIB)
    assert failure.asked_bytes is None
    assert log.last_line == "INFO bye"
    assert parse(["timeout waiting for model load"]).load_timed_out


def test_free_memory_that_nobody_was_refused_is_no_failure():
    assert parse(["INFO Free memory: 1.2 GiB", "INFO Available KV cache memory: 8.1 GiB"]).failures == ()


def test_binary_noise_and_endless_lines_in_a_file(tmp_path):
    path = tmp_path / "glm_vllm.log"
    path.write_bytes(
        b"x" * 3_000_000 + b"\n" + bytes(range(256)) * 10 + b"\n" + TORCH.encode() + b"\ncut off in the midd"
    )
    log = read(path)
    assert not isinstance(log, Unknown)
    assert len(log.failures) == 1
    assert isinstance(read(tmp_path / "none"), Unknown)


def test_noise_and_nothing_are_unknown_and_not_healthy(tmp_path):
    path = tmp_path / "glm_vllm.log"
    for content, said in ((random.Random(0).randbytes(50_000), "is not text"), (b"\n \n", "is empty")):
        path.write_bytes(content)
        log = read(path)
        assert isinstance(log, Unknown)
        assert said in log.why


def test_an_oom_without_numbers_is_a_failure_too():
    assert len(parse(["torch.cuda.OutOfMemoryError: CUDA out of memory."]).failures) == 1


@given(st.lists(st.text(max_size=80), max_size=20))
def test_no_lines_break_it(lines):
    parse(lines)
