"""The engine core's half, on vLLM's own BlockPool and on a real engine stepped by hand."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.in_process import an_engine, engine_core, flush
from unfrag.engine.free import run_lengths
from unfrag.engine.pool.reading import read_pool


@given(st.sets(st.integers(0, 300)))
def test_run_lengths_are_those_of_a_plain_count(ids):
    expected, previous = [], None
    for block in sorted(ids):
        if previous is not None and block == previous + 1:
            expected[-1] += 1
        else:
            expected.append(1)
        previous = block
    assert run_lengths(sorted(ids)) == expected


@pytest.fixture(scope="module")
def engine():
    with an_engine(129, 8) as llm:
        yield llm


def generate(llm, prompts, each_step=lambda step: None):
    """Step the engine by hand until every prompt is answered; token ids by prompt. Same calls, same batches."""
    from vllm import SamplingParams

    for i, tokens in enumerate(prompts):
        params = SamplingParams(max_tokens=24, temperature=0, ignore_eos=True)
        llm.llm_engine.add_request(str(i), {"prompt_token_ids": tokens}, params)
    answers, step = {}, 0
    while llm.llm_engine.has_unfinished_requests():
        for output in llm.llm_engine.step():
            answers[output.request_id] = tuple(output.outputs[0].token_ids)
        each_step(step)
        step += 1
    return answers


def shared_prompts(seed, count):
    """Prompts of which half share a prefix of several blocks, so that live requests hold blocks in common."""
    rng = random.Random(seed)
    prefix = [rng.randrange(10, 8000) for _ in range(160)]
    return [
        (prefix if i % 2 else []) + [rng.randrange(10, 8000) for _ in range(rng.randrange(40, 200))]
        for i in range(count)
    ]


def test_a_reading_agrees_with_vllms_own_counts_after_every_step(engine):
    pool = engine_core(engine).scheduler.kv_cache_manager.block_pool
    seen = []

    def check(_):
        stats = read_pool(engine_core(engine))
        free = {block.block_id for block in pool.free_block_queue.get_all_free_blocks()}
        assert stats["free_blocks"] == pool.get_num_free_blocks() == len(free)
        assert stats["pinned_blocks"] + stats["free_blocks"] == stats["total_blocks"] == 128
        assert stats["gpu_cache_usage"] == pytest.approx(pool.get_usage())
        assert stats["largest_free_block"] <= stats["free_blocks"]
        assert stats["cached_blocks"] == sum(pool.blocks[i].block_hash is not None for i in free)
        seen.append(stats)

    generate(engine, shared_prompts(1, 20), check)
    assert seen[-1]["steps"] > seen[0]["steps"]
    assert max(stats["tail_waste_tokens"] for stats in seen) > 0
    assert seen[-1]["pinned_blocks"] == 0
    assert seen[-1]["cached_blocks"] > 0


def test_churn_scatters_the_free_blocks_and_the_reading_sees_it(engine):
    flush(engine)
    ratios = []
    for seed in range(4):
        generate(
            engine,
            shared_prompts(seed, 16),
            lambda _: ratios.append(read_pool(engine_core(engine))["fragmentation_ratio"]),
        )
    assert max(ratios) > 0.5


def test_a_flush_at_every_step_changes_no_token_of_live_requests(engine):
    def cold_run(each_step=lambda step: None):
        flush(engine)
        return generate(engine, shared_prompts(2, 8), each_step)

    flushed = []

    def each_step(_):
        flushed.append(flush(engine))

    plain = cold_run()
    assert cold_run() == plain, "the engine itself must repeat before the flush can be judged"
    assert cold_run(each_step) == plain
    assert any(result["before"]["pinned_blocks"] for result in flushed), "flushed while requests were live"
    assert any(result["before"]["cached_blocks"] for result in flushed), "and there was something to drop"
    assert all(result["after"]["cached_blocks"] == 0 for result in flushed)
    assert all(r["after"]["pinned_blocks"] == r["before"]["pinned_blocks"] for r in flushed)


def test_a_dropped_block_is_not_hit_again_and_a_kept_one_is(engine):
    (prompt,) = shared_prompts(3, 1)
    manager = engine_core(engine).scheduler.kv_cache_manager
    generate(engine, [prompt])
    pool = manager.block_pool
    assert len(pool.cached_block_hash_to_block) > 0
    flush(engine)
    assert len(pool.cached_block_hash_to_block) == 0
