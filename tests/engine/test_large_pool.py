"""A pool of 133,000 blocks, an H200's: nothing that we do on the engine's thread takes long. Counted in work, not time.

Each call may look at so many blocks; what that takes is measured by ``benchmarks/engine_cost.py``.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.engine.manager import a_manager
from tests.engine.test_pool import Engine
from unfrag.engine import core
from unfrag.engine.pool import integrity
from unfrag.engine.pool.map import map_slice

BLOCKS = 133_000


@pytest.fixture(scope="module")
def manager():
    return a_manager(BLOCKS, 16)


def test_a_flush_comes_in_slices_and_reaches_every_block(manager):
    engine_core = SimpleNamespace(scheduler=SimpleNamespace(kv_cache_manager=manager))
    pool = manager.block_pool
    for block in pool.blocks[1::7]:
        block._block_hash = b"%d" % block.block_id
        pool.cached_block_hash_to_block.insert(block._block_hash, block)
    place, calls = 0, 0
    while place is not None:
        before = len(pool.cached_block_hash_to_block)
        place, calls = core.unfrag_evict(engine_core, place), calls + 1
        assert before - len(pool.cached_block_hash_to_block) <= core._EVICT_BLOCKS
    assert calls > 30
    assert len(pool.cached_block_hash_to_block) == 0


def test_the_bookkeeping_is_looked_at_in_slices_that_see_every_block(manager):
    odd = manager.block_pool.blocks[BLOCKS - 5]
    found, place, calls = [], 0, 0
    odd.ref_cnt = 1
    try:
        while place is not None:
            some, place = integrity.check_slice(manager.block_pool, [], place)
            found, calls = found + some, calls + 1
    finally:
        odd.ref_cnt = 0
    assert any(f"block {odd.block_id} " in line for line in found)
    assert any("the free queue counts" in line for line in found)
    assert calls > BLOCKS // integrity.SLICE_BLOCKS


def test_the_map_comes_in_slices(manager):
    scheduler = SimpleNamespace(kv_cache_manager=manager, running=[])
    place, blocks, calls = 0, 0, 0
    while place is not None:
        part = map_slice(scheduler, place, core._MAP_BLOCKS)
        blocks, place, calls = blocks + sum(n for _, n in part["blocks"]), part["next"], calls + 1
    assert (blocks, calls) == (BLOCKS + 1, -(-(BLOCKS + 1) // core._MAP_BLOCKS))


def test_a_plan_is_worked_out_a_little_at_a_time():
    engine = Engine(contiguous=False, caching=False, blocks=20_000)
    keep, go = [], []
    for number in range(40):
        request = engine.request([number] * 900)
        assert engine.admit(request)
        (keep if number % 2 else go).append(request)
    for request in go:
        engine.free(request)
    calls = 1
    while not engine.plan.work_out(0.0):
        calls += 1
    assert calls > 20
    assert engine.plan.remaining > 0
