"""The contiguous pool under everything that may happen to it, over vLLM's real KVCacheManager.

Block contents are kept beside it as a worker would keep them: each cell holds the token whose keys and values would lie
there. So "no wrong token" is looked at, not inferred.
"""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from vllm.sampling_params import SamplingParams
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import get_request_block_hasher
from vllm.v1.request import Request

from tests.engine.manager import a_manager
from tests.waiting import until
from unfrag.engine.free import count_runs, free_blocks
from unfrag.engine.pool import compaction, live
from unfrag.engine.pool.install import install
from unfrag.engine.pool.integrity import check
from unfrag.engine.pool.plan import Plan
from unfrag.engine.pool.queue import ContiguousQueue
from unfrag.engine.pool.runs import Runs
from unfrag.engine.vllm import remote, tables

SIZE = 4  # tokens of a block
BLOCKS = 40


class Engine:
    """Scheduler and worker in small: real manager, requests that run, and what each block holds."""

    def __init__(self, contiguous=True, caching=True, events=False, groups=1, blocks=BLOCKS):
        more = {"enable_caching": caching, "enable_kv_cache_events": events}
        self.manager = a_manager(blocks, SIZE, groups, max_model_len=1024, **more)
        self.kv_cache_manager = self.manager
        self.pool = self.manager.block_pool
        if contiguous:
            assert install(self.manager) is None
        self.managers = self.manager.coordinator.single_type_managers
        self.running: list[Request] = []
        self.connector = None
        self.memory = [[None] * SIZE for _ in range(blocks + 1)]
        self.tables: dict[str, tuple[list[int], ...]] = {}
        self._hasher = get_request_block_hasher(SIZE, sha256)
        self._number = 0
        self.moved = 0
        self.plan = Plan(self)
        self._said_by_hash: dict[object, list[object]] = {}
        self.lent: set[int] = set()

    def request(self, prompt, answer=50):
        self._number += 1
        return Request(
            request_id=str(self._number),
            prompt_token_ids=list(prompt),
            sampling_params=SamplingParams(max_tokens=answer),
            pooling_params=None,
            block_hasher=self._hasher,
        )

    def admit(self, request):
        """Prefix found, the rest allocated and computed; False when there is no room."""
        hits, found, *_ = self.manager.get_computed_blocks(request)
        missing = request.num_tokens - found
        if self.manager.allocate_slots(request, missing, found, hits) is None:
            return False
        self.tables[request.request_id] = tuple(
            [block.block_id for block in m.req_to_blocks[request.request_id]] for m in self.managers
        )
        request.num_computed_tokens = found
        self.running.append(request)
        self._compute(request, missing)
        return True

    def grow(self, request):
        request.append_output_token_ids([request.num_tokens % 7])
        new = self.manager.allocate_slots(request, 1)
        if new is None:
            return False
        for table, ids in zip(self.tables[request.request_id], new.get_block_ids(), strict=True):
            table.extend(ids)
        self._compute(request, 1)
        return True

    def _compute(self, request, tokens):
        """The worker writes where its own table says."""
        start = request.num_computed_tokens
        for position in range(start, start + tokens):
            for group, table in enumerate(self.tables[request.request_id]):
                self.memory[table[position // SIZE]][position % SIZE] = (group, request.all_token_ids[position])
        request.num_computed_tokens = start + tokens

    def free(self, request):
        self.manager.free(request)
        self.running.remove(request)
        del self.tables[request.request_id]

    def preempt(self, request):
        self.free(request)
        request.num_computed_tokens = 0

    def send(self, copies, tables, before):
        for request_id, table in before.items():
            for ids, mine in zip(table, self.tables[request_id], strict=True):
                assert ids is None or ids.tolist() == mine
        targets = [target for _, target in copies]
        assert len(set(targets)) == len(targets)
        read = [list(self.memory[source]) for source, _ in copies]
        for (_, target), cells in zip(copies, read, strict=True):
            self.memory[target] = cells
        for request_id, table in tables.items():
            for ids, mine in zip(table, self.tables[request_id], strict=True):
                if ids is not None:
                    assert len(ids) == len(mine)
                    mine[:] = ids.tolist()

    def compact(self, most=1000):
        """From what is left of the plan, or a new one; a plan that came to nothing meanwhile is made anew."""
        stale = self.plan.remaining > 0 or self.plan.is_begun
        while not self.plan.remaining and not self.plan.work_out(1.0):
            pass
        done = compaction.compact(self, most, self.send, self.plan)
        self.moved += done.live
        return self.compact(most) if stale and not done.live else done

    def verify(self):
        assert check(self.pool, self.managers) == []
        for request in self.running:
            for group, manager in enumerate(self.managers):
                held = [block.block_id for block in manager.req_to_blocks[request.request_id]]
                assert held == self.tables[request.request_id][group]
                cells = [cell for block_id in held for cell in self.memory[block_id]]
                expected = [(group, token) for token in request.all_token_ids[: request.num_computed_tokens]]
                assert cells[: len(expected)] == expected

        for block in self.pool.blocks:  # a hash stands for the same tokens wherever its block lies
            if block.block_hash is not None:
                cells = self.memory[block.block_id]
                assert self._said_by_hash.setdefault(block.block_hash, list(cells)) == cells

        assert set(self.pool._reuse_watchers) == self.lent
        assert all(self.memory[block_id] == ["read by somebody"] * SIZE for block_id in self.lent)

    def lend(self, number):
        """Blocks that somebody still reads while they are free, as after a hand-over: their reuse must be told."""
        blocks = self.pool.get_new_blocks(min(number, self.pool.get_num_free_blocks()))
        self.lent |= {block.block_id for block in blocks}
        for block in blocks:
            self.memory[block.block_id] = ["read by somebody"] * SIZE
        self.pool.unpin_blocks(blocks, lambda block: self.lent.remove(block.block_id))

    def free_ids(self):
        return [block.block_id for block in free_blocks(self.pool)]


TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=30)


class PoolMachine(RuleBasedStateMachine):
    """Admit, grow, finish, abort, preempt, share, evict, flush, compact, in any order."""

    @initialize(
        contiguous=st.booleans(), caching=st.booleans(), events=st.booleans(), groups=st.sampled_from([1, 1, 2])
    )
    def start(self, contiguous, caching, events, groups):
        self.engine = Engine(contiguous, caching, events, groups)
        self.preempted = []

    @rule(prompt=TOKENS, answer=st.integers(1, 40))
    def admit(self, prompt, answer):
        self.engine.admit(self.engine.request(prompt, answer))

    @precondition(lambda self: self.engine.running)
    @rule(data=st.data(), more=TOKENS)
    def share(self, data, more):
        other = data.draw(st.sampled_from(self.engine.running))
        self.engine.admit(self.engine.request([*other.all_token_ids, *more]))

    @precondition(lambda self: self.engine.running)
    @rule(data=st.data(), tokens=st.integers(1, 9))
    def grow(self, data, tokens):
        request = data.draw(st.sampled_from(self.engine.running))
        for _ in range(tokens):
            if not self.engine.grow(request):
                self.engine.free(request)
                break

    @precondition(lambda self: self.engine.running)
    @rule(data=st.data())
    def finish_or_abort(self, data):
        self.engine.free(data.draw(st.sampled_from(self.engine.running)))

    @precondition(lambda self: self.engine.running)
    @rule(data=st.data())
    def preempt(self, data):
        request = data.draw(st.sampled_from(self.engine.running))
        self.engine.preempt(request)
        self.preempted.append(request)

    @precondition(lambda self: self.preempted)
    @rule()
    def resume(self):
        if self.engine.admit(self.preempted[0]):
            self.preempted.pop(0)

    @rule(ids=st.sets(st.integers(1, BLOCKS), max_size=5))
    def evict(self, ids):
        free = set(self.engine.free_ids())
        self.engine.pool.evict_blocks(ids & free)

    @rule()
    def flush(self):
        self.engine.pool.evict_blocks(set(self.engine.free_ids()))

    @rule(number=st.integers(1, 3))
    def lend(self, number):
        self.engine.lend(number)

    @rule(most=st.integers(1, 8))
    def compact(self, most):
        before = self.engine.pool.get_num_free_blocks()
        done = self.engine.compact(most)
        assert done.live <= most
        assert self.engine.pool.get_num_free_blocks() == before

    @rule()
    def compact_to_the_end(self):
        while self.engine.compact(16).live:
            pass
        free = self.engine.free_ids()
        if not self.engine.lent:
            assert free == list(range(BLOCKS + 1 - len(free), BLOCKS + 1))

    @rule()
    def plan_a_little(self):
        """Requests come and go before the plan is done, and between that and the moves."""
        self.engine.plan.work_out(0.0)

    @rule(most=st.integers(1, 8))
    def a_worker_fails(self, most):
        def fail(copies, tables, before):
            for _, target in copies[: len(copies) // 2 + 1]:
                self.engine.memory[target] = ["half written"] * SIZE
            raise ConnectionError

        with contextlib.suppress(ConnectionError):
            self.engine.plan.work_out(1.0)
            compaction.compact(self.engine, most, fail, self.engine.plan)

    @invariant()
    def holds_together(self):
        if hasattr(self, "engine"):
            self.engine.verify()


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=260, stateful_step_count=50)


@given(st.lists(st.tuples(st.integers(0, 63), st.integers(1, 12)), max_size=60))
def test_the_index_of_runs_equals_a_fresh_scan(steps):
    runs, members = Runs(64), set()
    for start, length in steps:
        wanted = set(range(start, min(64, start + length)))
        if wanted <= members:
            runs.remove(start, len(wanted))
            members -= wanted
        else:
            runs.add_ids(wanted - members)
            members |= wanted
        fresh = [i for i in sorted(members) if i - 1 not in members]
        assert sorted(start for start, _ in runs) == fresh
        assert runs.count == len(members)
        for start_of, length_of in runs:
            assert set(range(start_of, start_of + length_of)) <= members
            assert runs.around(start_of + length_of - 1) == (start_of, length_of)
            assert runs.fitting(length_of)[1] >= length_of
        assert (runs.longest() is None) == (not members)


def run_lengths_of(request, engine):
    return count_runs([block.block_id for block in engine.managers[0].req_to_blocks[request.request_id]])


def scattered(contiguous, caching=True):
    """An engine whose pool was churned by requests of many lengths that grew side by side."""
    engine = Engine(contiguous, caching, blocks=600)
    for turn in range(40):
        crowd = [engine.request([turn, i, 7, *range(i % 5, 20 + 3 * i)]) for i in range(6)]
        for request in crowd:
            assert engine.admit(request)
        for step in range(30):
            for request in crowd[:: 1 + step % 2]:
                assert engine.grow(request)
        for request in crowd[:: 1 + turn % 2] + crowd[1::2] * (turn % 2):
            engine.free(request)
        for request in list(engine.running):
            engine.free(request)
    engine.verify()
    return engine


def test_requests_stay_adjacent_where_the_stock_pool_scatters_them():
    counted = {}
    for contiguous in (False, True):
        engine = scattered(contiguous)
        requests = [engine.request([999, i, *range(100)]) for i in range(4)]
        for request in requests:
            assert engine.admit(request)
        counted[contiguous] = sum(run_lengths_of(request, engine) for request in requests)
    assert counted[False] >= 4 * counted[True]


def test_every_free_block_can_be_had_although_some_are_reserved():
    engine = Engine(blocks=100)
    talking = [engine.request([i] * 9, 400) for i in range(5)]
    for request in talking:
        assert engine.admit(request)
    queue = engine.pool.free_block_queue
    assert isinstance(queue, ContiguousQueue)
    assert queue.reserved
    free = engine.pool.get_num_free_blocks()
    assert len(engine.pool.get_new_blocks(free)) == free
    assert engine.pool.get_num_free_blocks() == 0
    with pytest.raises(ValueError, match="free blocks"):
        engine.pool.get_new_blocks(1)


def test_a_request_that_ends_gives_its_reservation_back():
    engine = Engine(blocks=100)
    request = engine.request([1] * 9, 400)
    assert engine.admit(request)
    assert engine.pool.free_block_queue.reserved
    engine.free(request)
    assert not engine.pool.free_block_queue.reserved
    engine.verify()


def test_compaction_keeps_what_is_cached_where_it_can():
    engine = scattered(contiguous=False)
    request = engine.request([5, 5, *range(90)])
    assert engine.admit(request)
    cached = {b.block_hash for b in engine.pool.blocks if b.block_hash is not None}
    engine.pool.evict_blocks(set(engine.free_ids()[::3]))
    left = {b.block_hash for b in engine.pool.blocks if b.block_hash is not None}
    assert left < cached
    evicted = 0
    while (done := engine.compact(8)).live:
        evicted += done.evicted
    assert engine.moved > 0
    assert evicted == 0
    assert {b.block_hash for b in engine.pool.blocks if b.block_hash is not None} == left
    held = engine.managers[0].req_to_blocks[request.request_id]
    assert all(block.block_hash is not None for block in held[: request.num_tokens // SIZE])
    again = engine.request(list(request.all_token_ids))
    assert engine.admit(again)
    engine.verify()


def test_where_everything_is_cached_the_oldest_goes_and_passes_are_whole():
    engine = scattered(contiguous=False)
    for i in range(60):
        filler = engine.request([1000 + i, *range(60)])
        assert engine.admit(filler)
        engine.free(filler)
    first = engine.request([7, *range(60)])
    assert engine.admit(first)
    empty = [b for b in engine.pool.blocks if b.ref_cnt == 0 and b.block_hash is None and not b.is_null]
    engine.pool.touch(empty)  # nothing is left empty
    done = engine.compact(12)
    assert done.live == min(12, done.live + done.remaining)
    assert done.live > 3
    assert done.evicted <= done.live
    engine.verify()


def one_that_stayed():
    """An engine, and the request behind a hole that another one left."""
    engine = Engine(contiguous=False)
    first, second = engine.request([1] * 40), engine.request([2] * 40)
    assert engine.admit(first)
    assert engine.admit(second)
    engine.free(first)
    return engine, second


def test_what_is_not_only_a_running_requests_stays_where_it_is():
    engine, second = one_that_stayed()
    engine.pool.evict_blocks(set(engine.free_ids()))
    held = [block.block_id for block in engine.managers[0].req_to_blocks[second.request_id]]
    for block_id in held:
        engine.pool.blocks[block_id].ref_cnt += 1  # as a connector or a deferred free would
    assert engine.compact().live == 0
    for block_id in held:
        engine.pool.blocks[block_id].ref_cnt -= 1
    engine.running.clear()  # as a request that waits for a remote load
    assert engine.compact().live == 0


@pytest.mark.parametrize("change", [{"connector": object()}, {"use_pp": True}, {"ec_connector": object()}])
def test_what_may_know_blocks_by_their_ids_forbids_moving(change):
    engine = Engine()
    assert compaction.refusal(engine) is None
    odd = SimpleNamespace(**{"connector": None, "kv_cache_manager": engine.manager, **change})
    assert compaction.refusal(odd)


def test_a_broken_pool_is_told():
    engine = scattered(contiguous=True)
    request = engine.request(range(50))
    assert engine.admit(request)
    block = engine.managers[0].req_to_blocks[request.request_id][3]
    block.ref_cnt = 0
    assert any(f"block {block.block_id} " in said for said in check(engine.pool, engine.managers))
    block.ref_cnt = 1
    assert check(engine.pool, engine.managers) == []
    start, _ = next(iter(engine.pool.free_block_queue.runs))
    engine.pool.free_block_queue.runs.remove(start, 1)
    assert any("fresh scan" in said for said in check(engine.pool, engine.managers))


def test_a_pool_in_use_or_of_another_kind_is_left_alone():
    engine = Engine(contiguous=False)
    assert engine.admit(engine.request([1, 2, 3]))
    assert "in use" in install(engine.manager)
    assert "ContiguousQueue" in install(Engine().manager)


def a_compactor(engine, answers, refusal=None):
    """A live compactor over the engine in small: ``refusal`` is what its ranks say beforehand, ``answers`` to moves."""
    said = iter(answers)

    def one_rank(work, timeout):
        asked = work.keywords
        moves = getattr(asked["function"], "func", None) is tables.move
        return [remote.answer(None, asked["nonce"], lambda worker: next(said) if moves else refusal)]

    core = SimpleNamespace(
        scheduler=engine, step_fn=lambda: "stepped", model_executor=SimpleNamespace(collective_rpc=one_rank)
    )
    engine.kv_cache_config = SimpleNamespace(kv_cache_tensors=[], num_blocks=BLOCKS)
    return core, live.Compactor(core)


def something_to_move():
    return one_that_stayed()[0]


def test_a_rank_that_fails_and_goes_back_turns_compaction_off_and_nothing_else():
    core, compactor = a_compactor(something_to_move(), ["no memory", None])
    until(lambda: compactor.one_pass()["finished"])
    assert compactor.moves == 0
    assert "no memory" in compactor.off
    assert core.step_fn() == "stepped"
    core.scheduler.verify()


def test_a_rank_that_refuses_beforehand_is_asked_for_no_move():
    core, compactor = a_compactor(something_to_move(), [], refusal="a table of another kind")
    until(lambda: compactor.one_pass()["finished"])
    assert "a table of another kind" in compactor.off
    assert core.step_fn() == "stepped"
    core.scheduler.verify()


def test_a_rank_that_cannot_even_go_back_ends_the_engine():
    core, compactor = a_compactor(something_to_move(), ["no memory", "gone"])
    with pytest.raises(compaction.Torn, match="gone"):
        until(lambda: compactor.one_pass()["finished"])
    with pytest.raises(RuntimeError, match="ends this engine"):
        core.step_fn()


def test_a_scheduler_that_cannot_follow_its_workers_ends_the_engine(monkeypatch):
    core, compactor = a_compactor(something_to_move(), [None])
    monkeypatch.setattr(compaction, "_commit", lambda *args: 1 / 0)
    with pytest.raises(compaction.Torn, match="ZeroDivisionError"):
        until(lambda: compactor.one_pass()["finished"])
    with pytest.raises(RuntimeError, match="ends this engine"):
        core.step_fn()


@pytest.mark.parametrize(
    "answers",
    [
        lambda nonce: [("unfrag", "of before", None, None)],
        lambda nonce: [None],
        lambda nonce: [("unfrag", nonce)],
        lambda nonce: 1 / 0,
    ],
)
def test_an_answer_to_another_question_before_a_move_moves_nothing(answers):
    core, compactor = a_compactor(something_to_move(), [])
    core.model_executor.collective_rpc = lambda work, timeout: answers(work.keywords["nonce"])
    until(lambda: compactor.one_pass()["finished"])
    assert compactor.moves == 0
    assert "cannot be asked" in compactor.off
    assert core.step_fn() == "stepped"


def test_an_answer_to_another_question_after_a_move_ends_the_engine():
    core, compactor = a_compactor(something_to_move(), [])
    honest = core.model_executor.collective_rpc

    def foreign(work, timeout):
        moves = getattr(work.keywords["function"], "func", None) is tables.move
        return honest(work, timeout) if not moves else [("unfrag", "of before", None, None)]

    core.model_executor.collective_rpc = foreign
    with pytest.raises(compaction.Torn, match="not known which ranks"):
        until(lambda: compactor.one_pass()["finished"])
    with pytest.raises(RuntimeError, match="ends this engine"):
        core.step_fn()


@pytest.mark.parametrize(("fault", "stops"), [(ValueError("a bug"), False), (compaction.Torn("apart"), True)])
def test_a_fault_of_the_compactor_stops_no_step_unless_tables_are_apart(fault, stops):
    class Core:
        def step(self):
            return "stepped"

        step_with_batch_queue = step

    def tick():
        raise fault

    live.before_each_step(Core)
    core, compactor = Core(), a_compactor(Engine(), [])[1]
    core._unfrag_compactor, compactor.tick = compactor, tick
    if stops:
        with pytest.raises(compaction.Torn):
            core.step()
    else:
        assert core.step() == "stepped"
        assert "a bug" in compactor.off
