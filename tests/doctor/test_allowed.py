"""What tells one machine, one card or one person from others leaves as its shape; what is the same everywhere stays."""

import msgspec
import pytest

from tests.snapshots import a_snapshot
from unfrag.doctor.allowed.facts import allow_facts
from unfrag.doctor.allowed.log import allow_log
from unfrag.facts.snapshot import Gpu, GpuProcess, Gpus, Launch
from unfrag.redaction import redact

ADDRESSES = {
    "INFO Connecting to redis at 10.61.7.203:6379": "10.61",
    "Trusting 172.29.14.0/24, 10.61.0.1-10.61.0.9": "1",
    "INFO 11-22 10:00:00 [core.py:3] Using tcp://[fd7a:115c:a1e0::1f2]:29500 for the handshake": "fd7a",
    "world_size=2 rank=1 distributed_init_method=tcp://10.61.7.204:41155 backend=nccl": "10.61",
    "gpu07:4390:4390 [0] NCCL INFO Bootstrap: Using eth0:10.61.7.205<0>": "10.61",
    "NCCL INFO NET/IB : Using mlx5_0:1/RoCE mac 9c:6b:00:3e:aa:17": "9c:6b",
    "mac 9C-6B-00-3E-AA-18 and 9c6b.003e.aa19": "9",
    "listening on fe80::9e6b:ff:fe3e:aa17%eth0": "9e6b",
    "RoCE GID fe80:0000:0000:0000:5aa2:e1ff:fe0b:77c2": "77c2",
    "port_guid 5aa2:e103:000b:77c2 node_guid 0x5aa2e103000b77c2": "77c2",
    'INFO:     203.0.113.77:51544 - "POST /v1/chat/completions HTTP/1.1" 200 OK': "203.0",
    "VLLM_HOST_IP=10.61.7.17 MASTER_ADDR=::ffff:10.61.7.18": "10.61",
    "vllm serve m --host 10.61.7.11 --port 8000": "10.61",
    "WARNING: all log messages to 192.168.44.21": "192.168",
    "rank 1 at ip-10-61-7-203.ec2.internal": "61",
    "version 4.2.1.0": "4.2.1",
}
PEOPLE = {
    "The model should use 4111 1111 1111 1111 as the number": "1111",
    "The number 4111-1111-1111-1111 is not valid": "1111",
    "request for +49 151 23456789 failed": "234",
    "request for +4915123456789 failed": "491",
    "call (030) 901820-44 or 0151/23456789 today": "8",
    "social security number 553-21-8876 is not in the cache": "8876",
    "Using 5001 0517 5407 3249 31 as the block size": "0517",
    "Loading weights took 7hunter2blue seconds": "hunter",
    "Loading weights took 0A3D07CB:1F90 seconds": "3D07",
}


@pytest.mark.parametrize("line", ADDRESSES)
def test_a_machines_address_leaves_only_as_a_shape(line):
    kept = allow_log(line).text
    assert ADDRESSES[line] not in kept.removeprefix("INFO 11-22 10:00:00")
    assert "characters]" in kept


@pytest.mark.parametrize("line", PEOPLE)
def test_a_persons_digits_leave_only_as_a_shape(line):
    assert PEOPLE[line] not in allow_log(line).text


@pytest.mark.parametrize(
    "line",
    [
        "INFO 11-22 10:00:00 [core.py:3] Started server process [4211]",
        "INFO:     127.0.0.1:51544 - \"POST /v1/chat/completions HTTP/1.1\" 200 OK",
        "2025-11-22 10:00:00,123 INFO Application startup complete.",
        "GPU KV cache size: 1,240,112 tokens",
        "kv_cache_memory_bytes=47244640256",
        "at::native::vectorized_elementwise_kernel",
        "numpy==2.2.6",
        "xgrammar   0.1.25",
        "/usr/local/lib/python3.12/dist-packages/vllm/v1/engine/core.py",
    ],
)  # fmt: skip
def test_other_numbers_stay(line):
    assert allow_log(line).text == line


def test_a_card_keeps_its_name_and_loses_its_uuid():
    line = "GPU 0: NVIDIA H20-3e (UUID: GPU-4f0c9a11-77ab-4c2d-9e3f-0a1b2c3d4e5f)"
    assert allow_log(line).text == "GPU 0: NVIDIA H20-3e (UUID: [text of 40 characters])"
    assert redact(line) == line


def test_processes_stay_on_their_cards_without_uuids():
    first, second = "GPU-4f0c9a11-77ab-4c2d-9e3f-0a1b2c3d4e5f", "GPU-77c2a1b0-0000-4c2d-9e3f-aabbccddeeff"
    cards = tuple(Gpu(index, uuid, "NVIDIA H20-3e", 100, 90) for index, uuid in enumerate((first, second)))
    processes = (GpuProcess(1, 50, second), GpuProcess(2, 40, first), GpuProcess(3, 40, None))
    snapshot = a_snapshot(
        gpus=Gpus(cards, processes, "nvidia-smi"),
        launch=Launch("vllm serve m --host 10.61.7.11", {"--host": "10.61.7.11"}, "x", {"VLLM_HOST_IP": "10.61.7.12"}),
    )
    kept = allow_facts(snapshot)
    assert isinstance(kept.gpus, Gpus)
    assert [
        [process.pid for process in kept.gpus.processes if process.gpu_uuid == card.uuid] for card in kept.gpus.gpus
    ] == [[2], [1]]
    assert kept.gpus.processes[2].gpu_uuid is None
    written = msgspec.json.encode(kept).decode()
    assert "4f0c9a11" not in written
    assert "77c2a1b0" not in written
    assert "10.61" not in written
    assert "H20-3e" in written
