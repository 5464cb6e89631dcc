"""The replay against vLLM's own KVCacheManager, asked the same questions in the same order."""

from __future__ import annotations

import json
import random

import pytest

from tests.engine.manager import UNIT, ManagerCache
from unfrag.engine.replay import PoolCache, Turn, simulate, split
from unfrag.errors import NotEnoughEvidence, UsageError
from unfrag.plan import replay


def turns(seed, number=300):
    """Conversations that come back with a longer prefix, and single questions."""
    rng = random.Random(seed)
    talks, fresh, made = [[0]], 1, []
    for i in range(number):
        ids = list(rng.choice(talks))
        for _ in range(rng.randrange(1, 6)):
            ids.append(fresh)
            fresh += 1
        talks = [*talks[-12:], ids]
        prompt = len(ids) * UNIT - rng.randrange(UNIT)
        made.append(Turn(i * 0.05, prompt, rng.randrange(1, 40), ids))
    return made


@pytest.mark.parametrize("blocks", [60, 120, 400])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_hits_equal_those_of_the_whole_manager(blocks, seed):
    """An answer is nobody's prefix in either: the trace does not say what it was."""
    ours = simulate(turns(seed), PoolCache(blocks, UNIT), 8, 2000.0, 0.001, UNIT)
    theirs = simulate(turns(seed), ManagerCache(blocks), 8, 2000.0, 0.001, UNIT)
    assert ours["hit_tokens"] > 0
    for key in ("prompt_tokens", "finished", "refused", "preemptions"):
        assert ours[key] == theirs[key], key
    # One block may fall the other way: of two with one hash the manager and the pool may keep another.
    assert abs(ours["hit_tokens"] - theirs["hit_tokens"]) <= UNIT
    assert ours["finished"] + ours["refused"] == 300


def test_a_small_pool_throws_out_and_all_is_given_back():
    cache = PoolCache(40, UNIT)
    long = [Turn(0.0, 100, 300, list(range(i * 7, i * 7 + 7))) for i in range(8)]
    found = simulate(long, cache, 8, 1000.0, 0.01, UNIT)
    assert found["preemptions"] > 0
    assert found["finished"] == 8
    assert cache.usage() == 0


def test_equal_prefixes_go_to_the_same_server():
    parts = split(turns(1), 3, by_prefix=True)
    plain = split(turns(1), 3, by_prefix=False)
    assert sum(map(len, parts)) == sum(map(len, plain)) == 300

    def hits(split_up):
        return sum(simulate(part, PoolCache(200, UNIT), 8, 2000.0, 0.001, UNIT)["hit_tokens"] for part in split_up)

    assert hits(parts) > hits(plain)


@pytest.mark.slow
def test_a_trace_from_a_file(tmp_path):
    trace = tmp_path / "trace.jsonl"
    lines = [
        {"timestamp": i * 100, "input_length": 1500, "output_length": 20, "hash_ids": [0, 1, 2]} for i in range(20)
    ]
    trace.write_text("\n".join(map(json.dumps, lines)) + "\nno json\n{}\n")
    found = replay.run(replay.Load(trace, tokens=100_000, max_num_seqs=16))
    (instance,) = found.instances
    assert (instance.requests, instance.finished) == (20, 20)
    assert instance.hit_tokens == 19 * 2 * 512
    trace.write_text("nothing\n")
    with pytest.raises(NotEnoughEvidence, match="no request"):
        replay.run(replay.Load(trace, tokens=100_000, max_num_seqs=16))
    with pytest.raises(UsageError, match="less than one unit"):
        replay.run(replay.Load(trace, tokens=100, max_num_seqs=16))
