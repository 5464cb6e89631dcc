from hypothesis import given
from hypothesis import strategies as st

from unfrag.doctor.probes.nvidia_smi import parse
from unfrag.facts.snapshot import Gpus
from unfrag.facts.values import Unknown

MIB = 1024 * 1024


def test_the_articles_query_with_either_field_name():
    for name in ("device_uuid", "gpu_uuid"):
        header = f"pid, used_gpu_memory [MiB], {name}\n".replace("used_gpu_memory", "used_memory")
        for text in (header + "41, 12288 MiB, GPU-1b2c3d4e-0000", "41, 12288, GPU-1b2c3d4e-0000\n"):
            found = parse(text)
            assert isinstance(found, Gpus)
            (process,) = found.processes
            assert (process.pid, process.used_bytes, process.gpu_uuid) == (41, 12288 * MIB, "GPU-1b2c3d4e-0000")


def test_query_gpu_with_a_header():
    found = parse(
        "index, name, memory.total [MiB], memory.used [MiB]\n"
        "0, NVIDIA GeForce RTX 4090 D, 24564 MiB, 20111 MiB\n1, NVIDIA GeForce RTX 4090 D, 24564 MiB, 12 MiB\n"
    )
    assert isinstance(found, Gpus)
    assert [(gpu.index, gpu.total_bytes, gpu.used_bytes) for gpu in found.gpus] == [
        (0, 24564 * MIB, 20111 * MIB),
        (1, 24564 * MIB, 12 * MIB),
    ]


def test_a_memory_that_the_driver_does_not_say_is_unknown_and_not_zero():
    found = parse("pid, used_memory [MiB], gpu_uuid\n41, [N/A], GPU-1b2c3d4e-0000\n")
    assert isinstance(found, Gpus)
    assert found.processes[0].used_bytes is None


def test_text_of_another_kind_is_unknown():
    assert isinstance(parse("No running processes found"), Unknown)
    assert isinstance(parse(""), Unknown)


@given(st.text(max_size=300))
def test_no_text_breaks_it(text):
    parse(text)
    parse("pid, used_memory [MiB], gpu_uuid\n" + text)
    parse("index, memory.total [MiB]\n" + text)
