"""Fixes as commands to paste, where it is known who starts the server; what is no command stays as it is."""

import pytest

from unfrag.commands.fixes import command
from unfrag.launchers.place import Place

UNIT = Place(unit="vllm.service")


@pytest.mark.parametrize(
    ("fix", "printed"),
    [
        ("--max-model-len 10112   # now", "unfrag apply --unit vllm.service -- --max-model-len 10112   # now"),
        ("--max-loras 1 --max-lora-rank 16", "unfrag apply --unit vllm.service -- --max-loras 1 --max-lora-rank 16"),
        ("--pool contiguous", "unfrag apply --unit vllm.service -- --pool contiguous"),
        ("restart the server", "unfrag restart --unit vllm.service"),
        ("restart at a quiet hour: holes go", "unfrag restart --unit vllm.service   # at a quiet hour: holes go"),
        ("restart the decode server: why", "unfrag restart --unit vllm.service   # why"),
        ("py-spy dump   # then restart the server", "py-spy dump   # then unfrag restart --unit vllm.service"),
        ("unfrag flush --only compact   # x", "unfrag flush --unit vllm.service --only compact   # x"),
    ],
)
def test_what_can_be_pasted_can_be_pasted(fix, printed):
    assert command(fix, UNIT) == printed


@pytest.mark.parametrize(
    "fix",
    [
        "--max-num-seqs N   # as many as the pool holds",
        "--tensor-parallel-size and --data-parallel-size whose product divides them",
        "--mem-fraction-static 0.8",
        "restart the container with --shm-size 8g",
        "restart them",
        "unfrag serve … --enable-eplb",
        "pip install x",
        "unfrag flush --url http://a:1",
    ],
)
def test_what_is_no_command_stays(fix):
    assert command(fix, UNIT) == fix
