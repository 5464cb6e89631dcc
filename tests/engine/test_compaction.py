"""Compaction on a real engine stepped by hand: same calls, same batches, so any token that changes is its fault."""

from __future__ import annotations

import os
import random

import pytest
from vllm import SamplingParams
from vllm.v1.core.sched.scheduler import Scheduler

from tests.engine.in_process import an_engine, compact, engine_core, flush
from unfrag.engine import core
from unfrag.engine.pool import compaction, live
from unfrag.engine.pool.install import install
from unfrag.engine.pool.integrity import check
from unfrag.engine.pool.reading import read_pool
from unfrag.engine.vllm import tables
from unfrag.engine.vllm.core import block_pool, managers
from unfrag.engine.vllm.remote import Foreign, remote_of

V2, ASYNCHRONOUS = "UNFRAG_RIG_V2" in os.environ, "UNFRAG_RIG_ASYNC" in os.environ
# Interpreted kernels take a tenth of a second a step and request.
IN_FLIGHT, BLOCKS, ANSWER, LEAST_MOVES, FLUSH_AT = (8, 129, 40, 30, 20) if V2 else (32, 513, 120, 200, 60)
REQUESTS = 2 * IN_FLIGHT
# `make test` has each test with one pool, and the first one on a GPU's defaults too; `make test-matrix` has them all.
STOCK_FIRST = pytest.mark.parametrize(
    "engine", ["stock", pytest.param("contiguous", marks=pytest.mark.slow)], indirect=True
)
IN_THE_MATRIX = () if ASYNCHRONOUS else pytest.mark.slow


@pytest.fixture(scope="module", params=["stock", "contiguous"])
def engine(request):
    """A real engine in this process, with either pool."""
    with an_engine(BLOCKS, IN_FLIGHT) as llm:
        if request.param == "contiguous":
            assert install(engine_core(llm).scheduler.kv_cache_manager) is None
        yield llm


def prompts(seed, number):
    """Documents of 3 lengths that several requests share, and what each adds."""
    rng = random.Random(seed)
    documents = [[rng.randrange(10, 8000) for _ in range(length)] for length in (96, 256, 320, 416)]
    return [
        rng.choice(documents) + [rng.randrange(10, 8000) for _ in range(rng.randrange(8, 90))] for _ in range(number)
    ]


class Run:
    """A crowd of requests, stepped; something may be done after each step. ``seen``: each one's tokens so far."""

    def __init__(self, llm, seed=1, each_step=lambda step: None, number=REQUESTS, seen=None):
        self.llm, self.engine = llm, llm.llm_engine
        flush(llm)
        rng = random.Random(seed + 100)
        for i, tokens in enumerate(prompts(seed, number)):
            # Ends at different times, so that finished requests leave holes between those that go on.
            length = ANSWER if i % 3 else rng.randrange(8, ANSWER // 3)
            params = SamplingParams(max_tokens=length, temperature=0, ignore_eos=True)
            self.engine.add_request(str(i), {"prompt_token_ids": tokens}, params)
        self.answers: dict[str, list[int]] = {}
        step = 0
        while self.engine.has_unfinished_requests():
            for output in self.engine.step():
                if seen is not None:
                    seen[output.request_id] = list(output.outputs[0].token_ids)
                if output.finished:
                    self.answers[output.request_id] = list(output.outputs[0].token_ids)
            each_step(step)
            step += 1
        assert check(block_pool(engine_core(llm)), managers(engine_core(llm).scheduler)) == []


@pytest.mark.parametrize("engine", [pytest.param("stock", marks=IN_THE_MATRIX), "contiguous"], indirect=True)
def test_no_token_changes_although_hundreds_of_blocks_move(engine):
    moved, in_flight = [], []

    def each_step(step):
        if step % 3 == 0:
            in_flight.append(bool(getattr(engine_core(engine), "batch_queue", None)))
            blocks, why = compact(engine)
            assert why is None
            moved.append(blocks)

    plain = Run(engine).answers
    assert len(plain) == REQUESTS
    assert Run(engine).answers == plain, "the engine itself must repeat before compaction can be judged"
    assert Run(engine, each_step=each_step).answers == plain
    assert sum(moved) >= LEAST_MOVES, moved
    if ASYNCHRONOUS:
        assert sum(in_flight) > len(in_flight) / 2, "a step was in flight in most passes"


@STOCK_FIRST
def test_the_test_sees_copies_that_are_dropped(engine, monkeypatch):
    plain = Run(engine).answers
    monkeypatch.setattr("vllm.v1.worker.utils.copy_kv_cache_blocks_inplace", lambda *args: None)
    broken = Run(engine, each_step=lambda _: compact(engine)).answers
    assert sum(broken[key] != plain[key] for key in plain) > REQUESTS // 6


@pytest.mark.slow
@STOCK_FIRST
def test_the_test_sees_tables_that_are_not_replaced(engine, monkeypatch):
    plain = Run(engine).answers
    monkeypatch.setattr(tables, "_v2" if V2 else "_v1", lambda runner, tables: None)
    broken = Run(engine, each_step=lambda _: compact(engine)).answers
    assert broken != plain


@STOCK_FIRST
def test_a_flush_leaves_the_free_blocks_in_one_run(engine):
    """Cached blocks dropped first, then passes, as the endpoint does it."""
    ratios = []

    def each_step(step):
        if step == FLUSH_AT:
            before = flush(engine)["before"]
            compact(engine)
            after = read_pool(engine_core(engine))
            ratios.append((before["fragmentation_ratio"], after["fragmentation_ratio"], before["pinned_blocks"]))

    Run(engine, each_step=each_step)
    ((before, after, pinned),) = ratios
    assert pinned > BLOCKS // 5
    assert after <= 0.05
    assert after <= before


@STOCK_FIRST
def test_preempted_and_aborted_requests_come_through(engine):
    """More than the pool holds, so requests are preempted; some are aborted right after their blocks moved."""

    def stir(aborted):
        def each_step(step):
            if step % 2 == 0:
                compact(engine)
            if step in aborted:
                engine.llm_engine.abort_request([aborted[step]])

        return each_step

    preemptions = []
    original = Scheduler._preempt_request
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Scheduler,
            "_preempt_request",
            lambda self, request, *args, **kwargs: (
                preemptions.append(request.request_id),
                original(self, request, *args, **kwargs),
            )[1],
        )
        pool = engine_core(engine).scheduler.kv_cache_manager.block_pool
        hostages = pool.get_new_blocks(BLOCKS * 5 // 8)
        try:
            stirred = Run(engine, 5, stir({8: "4", 19: "7"})).answers
        finally:
            pool.free_blocks(hostages)
    assert preemptions
    assert len(stirred) == REQUESTS - 2
    assert pool.get_num_free_blocks() == BLOCKS - 1


@STOCK_FIRST
def test_a_worker_that_fails_switches_compaction_off_and_the_server_goes_on(engine, monkeypatch):
    def fail(*args):
        raise RuntimeError("no memory for the copy")

    def each_step(_):
        said.append(compact(engine)[1])

    said: list[str | None] = []
    plain = Run(engine).answers
    monkeypatch.setattr("vllm.v1.worker.utils.copy_kv_cache_blocks_inplace", fail)
    try:
        assert Run(engine, each_step=each_step).answers == plain
        assert "no memory" in said[-1]
    finally:
        del engine_core(engine)._unfrag_compactor


@STOCK_FIRST
def test_in_the_background_it_starts_and_stops_by_itself(engine, monkeypatch):
    plain = Run(engine).answers
    policy = live.Policy(start_ratio=0.2, start_bytes=1 << 20, stop_ratio=0.05, look_every=4, move_every=2)
    core_class = type(engine_core(engine))
    compactor = engine_core(engine)._unfrag_compactor = live.Compactor(engine_core(engine), policy)
    with monkeypatch.context() as patch:
        for name in ("step", "step_with_batch_queue"):
            patch.setattr(core_class, name, getattr(core_class, name))
        live.before_each_step(core_class)
        name = engine_core(engine).step_fn.__name__
        patch.setattr(engine_core(engine), "step_fn", getattr(engine_core(engine), name))
        assert Run(engine).answers == plain
    del engine_core(engine)._unfrag_compactor
    assert compactor.off is None
    assert compactor.moves > 0


class OneRankFails:
    """A copy that fails on one rank, and only when told."""

    def __init__(self, rank):
        self.rank = rank

    def __call__(self, worker):
        from vllm.v1.worker import utils

        def fail(*args):
            raise RuntimeError("no memory for the copy")

        if worker.rank == self.rank:
            utils.copy_kv_cache_blocks_inplace = fail


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
@pytest.mark.slow
def test_when_one_of_two_ranks_fails_both_go_back(rank):
    said = []

    def each_step(step):
        if step == 10:
            remote_of(engine_core(llm)).ask(OneRankFails(rank))
        if step >= 10:
            said.append(compact(llm)[1])

    with an_engine(BLOCKS, IN_FLIGHT, ranks=2) as llm:
        plain = Run(llm, number=12).answers
        assert Run(llm, each_step=each_step, number=12).answers == plain
        assert "no memory" in said[-1]
        ranks = core.unfrag_ranks(engine_core(llm))
        assert [entry["rank"] for entry in ranks] == [0, 1], "no rank's answer is left over from the failed move"


@pytest.mark.slow
def test_two_ranks_move_alike():
    moved = []

    def each_step(step):
        if step % 3 == 0:
            moved.append(compact(llm)[0])

    with an_engine(BLOCKS, IN_FLIGHT, ranks=2) as llm:
        plain = Run(llm, number=12).answers
        assert Run(llm, number=12).answers == plain
        assert Run(llm, each_step=each_step, number=12).answers == plain
        assert engine_core(llm)._unfrag_compactor.off is None
    assert sum(moved) > 20


@pytest.mark.skipif(V2, reason="its tables hold the scheduler's blocks")
@STOCK_FIRST
def test_tables_of_the_kernels_own_blocks_are_never_written(engine, monkeypatch):
    """vLLM 0.30 and 0.31 keep them so in Model Runner V1 where a backend's blocks are smaller than the scheduler's."""

    def has_own(worker):
        return any(
            hasattr(table, "blocks_per_kv_block") for table in worker.model_runner.input_batch.block_table.block_tables
        )

    def split(worker):
        for table in worker.model_runner.input_batch.block_table.block_tables:
            table.blocks_per_kv_block = 2

    def mend(worker):
        for table in worker.model_runner.input_batch.block_table.block_tables:
            del table.blocks_per_kv_block

    if any(remote_of(engine_core(engine)).ask(has_own)):
        pytest.skip("this vLLM goes by that number itself, and would fail with a wrong one")
    said = []
    plain = Run(engine).answers
    remote_of(engine_core(engine)).ask(split)
    try:
        assert Run(engine, each_step=lambda _: said.append(compact(engine)[1])).answers == plain
    finally:
        remote_of(engine_core(engine)).ask(mend)
        del engine_core(engine)._unfrag_compactor
    assert "kernel's smaller blocks" in said[-1]


def test_when_it_is_not_known_what_ranks_did_the_engine_ends_and_no_wrong_token_leaves():
    """The workers move, their answer is lost, and with asynchronous scheduling a step is in flight meanwhile."""
    with an_engine(BLOCKS, IN_FLIGHT) as llm:
        plain = Run(llm).answers
        remote = remote_of(engine_core(llm))
        asked = remote.ask
        partial: dict[str, list[int]] = {}
        torn: list[BaseException] = []

        def lose_the_answer(function):
            answers = asked(function)
            if getattr(function, "func", None) is tables.move:
                raise Foreign("an answer was lost")
            return answers

        def each_step(step):
            if step >= 10:
                try:
                    compact(llm)
                except compaction.Torn as fault:
                    torn.append(fault)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(remote, "ask", lose_the_answer)
            with pytest.raises(RuntimeError, match="ends this engine"):
                Run(llm, each_step=each_step, seen=partial)
    assert len(torn) == 1
    assert partial
    assert all(tokens == plain[key][: len(tokens)] for key, tokens in partial.items())
