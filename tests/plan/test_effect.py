"""How many tokens a KV cache will hold after a change of flags; what may not be said is None."""

from __future__ import annotations

import pytest

from unfrag.errors import UsageError
from unfrag.facts.memory_stats import Pool
from unfrag.plan import effect

# 256 blocks of 32 tokens and the null block, 4 KiB a token.
POOL = Pool(0.0, 256, 256, block_size_bytes=32 * 4096, block_size_tokens=32, total_blocks=256)
NOW = {"--block-size": "32"}


@pytest.mark.parametrize(
    ("after", "tokens"),
    [
        (NOW, 8192),
        ({"--block-size": "64"}, 127 * 64),
        ({"--block-size": "16"}, 513 * 16),
        ({**NOW, "--kv-cache-dtype": "fp8"}, 513 * 32),
        ({**NOW, "--num-gpu-blocks-override": "101"}, 3200),
        ({**NOW, "--kv-cache-memory-bytes": "4MiB"}, 31 * 32),
        ({**NOW, "--gpu-memory-utilization": "0.95"}, None),
        ({**NOW, "--kv-cache-dtype": "turboquant"}, None),
        ({**NOW, "--kv-cache-memory-bytes": "much"}, None),
    ],
)
def test_the_bytes_stay_and_a_block_is_whole(after, tokens):
    assert effect.kv_tokens(POOL, NOW, after) == tokens


def test_a_pool_that_does_not_say_its_size_is_not_guessed():
    assert effect.kv_tokens(Pool(0.0, 3, 3), NOW, NOW) is None
    assert effect.shortfall(Pool(0.0, 3, 3), 100) is None
    assert effect.shortfall(None, 100) is None


def test_five_percent_less_is_still_what_was_promised():
    assert effect.shortfall(POOL, 8600) is None
    assert "8,192 tokens where 8,700" in (effect.shortfall(POOL, 8700) or "")


def test_a_sixteen_bit_cache_is_said_to_save_nothing():
    assert "saves nothing" in effect.costs({"--kv-cache-dtype": "float16"})[0]
    assert "rounded" in effect.costs({"--kv-cache-dtype": "fp8"})[0]
    assert effect.costs({"--port": "1"}) == []


@pytest.mark.parametrize("text", ["", "{}", '{"flags": []}', '{"flags": [{}]}', '{"flags": [{"flag": 1}]}', "\0"])
def test_a_file_that_is_no_plan_is_refused(tmp_path, text):
    file = tmp_path / "plan.json"
    file.write_text(text)
    with pytest.raises(UsageError):
        effect.read_plan(file)


def test_a_plan_that_does_not_fit_is_refused(tmp_path):
    file = tmp_path / "plan.json"
    file.write_text('{"flags": [{"flag": "--x", "value": null}], "fits": false}')
    with pytest.raises(UsageError, match="does not fit"):
        effect.read_plan(file)
