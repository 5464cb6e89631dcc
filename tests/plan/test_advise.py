"""Advice keeps the budget, doubles tokens only when allowed to, and takes `max_num_seqs` from what was measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.snapshots import a_pool
from unfrag.errors import NotEnoughEvidence
from unfrag.plan.advise import advise

OVERRIDE = {"--num-gpu-blocks-override": "1001"}


def flags(pool=None, current=OVERRIDE, request_tokens=1000, quantize=False, held=None):
    advice = advise(pool or a_pool(), current, request_tokens, quantize, held)
    assert all(item.why and item.costs for item in advice)
    return {item.flag: item.value for item in advice}


def test_fp8_is_advised_only_when_allowed_and_doubles_the_blocks():
    assert flags() == {"--num-gpu-blocks-override": "1001", "--max-num-seqs": "32"}
    assert flags(quantize=True) == {
        "--kv-cache-dtype": "fp8",
        "--num-gpu-blocks-override": "2002",
        "--max-num-seqs": "64",
    }


def test_fp8_is_not_advised_twice():
    current = {**OVERRIDE, "--kv-cache-dtype": "fp8"}
    assert "--kv-cache-dtype" not in flags(current=current, quantize=True)


def test_a_server_whose_pool_vllm_sizes_is_not_told_a_number_of_blocks():
    assert "--num-gpu-blocks-override" not in flags(current={})


def test_max_num_seqs_grows_with_the_pool_from_what_a_bench_saw():
    assert flags(held=15)["--max-num-seqs"] == "15"
    assert flags(held=15, quantize=True)["--max-num-seqs"] == "30"


@given(st.integers(2, 10**6), st.sampled_from([16, 32, 64, 128, 256]), st.booleans())
def test_the_advised_pool_never_outgrows_the_bytes_there_are(blocks, block_tokens, quantize):
    block_bytes = block_tokens * 4096
    pool = a_pool(total_blocks=blocks - 1, block_size_tokens=block_tokens, block_size_bytes=block_bytes)
    advised = flags(pool, quantize=quantize)
    tokens = int(advised.get("--block-size", block_tokens))
    assert int(advised["--num-gpu-blocks-override"]) * tokens * (2048 if quantize else 4096) <= blocks * block_bytes
    assert int(advised["--max-num-seqs"]) >= 1


def test_a_server_that_does_not_say_its_pool_cannot_be_advised():
    with pytest.raises(NotEnoughEvidence, match="unfrag serve"):
        flags(a_pool(total_blocks=None))
