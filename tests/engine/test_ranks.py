"""Faults of one rank of two, on real servers and engines: what is lost is a number, or the engine in vLLM's own way."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import httpx
import pytest

from tests.engine.in_process import an_engine, compact, engine_core
from tests.engine.test_compaction import Run
from tests.waiting import until
from unfrag.engine import core, ranks
from unfrag.engine.vllm.remote import Foreign, remote_of
from unfrag.rig.environment import SERVED_NAME
from unfrag.rig.server import Rig

POOL = {"--block-size": "32", "--num-gpu-blocks-override": "257", "--max-num-seqs": "16"}
BROKEN = Path(__file__).parent / "broken"


def complete(rig, timeout=60.0):
    body = {"model": SERVED_NAME, "prompt": [5, 6, 7] * 20, "max_tokens": 8, "temperature": 0, "ignore_eos": True}
    return httpx.post(f"{rig.url}/v1/completions", json=body, timeout=timeout, trust_env=False)


def health(rig, timeout=5.0):
    """Its status, or None when nobody answers."""
    try:
        return httpx.get(f"{rig.url}/health", timeout=timeout, trust_env=False)
    except httpx.TransportError:
        return None


class FailOn:
    """A remote procedure of vLLM's kind that raises on one rank alone."""

    def __init__(self, rank):
        self.rank = rank

    def __call__(self, worker):
        if worker.rank == self.rank:
            raise ValueError("this rank has no such adapter")
        return {"rank": worker.rank}


@pytest.fixture(scope="module")
def two_ranks():
    with an_engine(513, 12, ranks=2) as llm:
        yield llm


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_failed_call_of_vllms_own_changes_no_token_when_blocks_move_after_it(two_ranks, rank):
    """D1: it leaves the other rank's answer behind, which the next question must not take for its own."""
    moved = []

    def each_step(step):
        if step == 10:
            with pytest.raises(RuntimeError, match="no such adapter"):
                engine_core(two_ranks).model_executor.collective_rpc(FailOn(rank))
        if step >= 10:
            blocks, why = compact(two_ranks)
            assert why is None, "what was left behind was taken away"
            moved.append(blocks)

    plain = Run(two_ranks, number=12).answers
    assert Run(two_ranks, each_step=each_step, number=12).answers == plain
    assert sum(moved) > 0


def test_what_a_rank_left_behind_is_never_taken_for_an_answer(two_ranks):
    remote = remote_of(engine_core(two_ranks))
    for rank in (0, 1, 1):
        with contextlib.suppress(RuntimeError):  # vLLM itself takes the one left behind for the next one's
            engine_core(two_ranks).model_executor.collective_rpc(FailOn(rank))
    with pytest.raises(Foreign):
        remote.ask(ranks.memory)
    assert [answer.value["rank"] for answer in remote.ask(ranks.memory)] == [0, 1]


def test_a_question_that_raises_in_the_workers_comes_back_as_words(two_ranks):
    answers = remote_of(engine_core(two_ranks)).ask(FailOn(1))
    assert (answers[0].value, answers[0].fault) == ({"rank": 0}, None)
    assert "no such adapter" in answers[1].fault
    assert [entry["rank"] for entry in core.unfrag_ranks(engine_core(two_ranks))] == [0, 1]


@pytest.mark.slow
def test_memory_that_cannot_be_read_is_null_and_the_server_lives():
    """D2: polled ten times as often as vLLM's queues have room."""
    with Rig(POOL, ranks=2, env={"PYTHONPATH": str(BROKEN)}) as rig:
        rig.wait_ready()
        for _ in range(20):
            assert health(rig).status_code == 200
            httpx.post(f"{rig.url}/flush_cache", params={"compact": False}, timeout=30, trust_env=False)
        assert complete(rig).status_code == 200
        entries = health(rig).json()["memory_stats"]["ranks"]
        assert [entry["resident_bytes"] for entry in entries] == [None, None]
        assert all("no snapshot" in entry["unknown"] for entry in entries)
        assert all(entry["weights_bytes"] > 0 for entry in entries)


@pytest.mark.slow
def test_a_worker_that_stands_still_ends_the_engine_within_vllms_own_limit_however_often_it_is_polled():
    """D3: without a limit of its own, a question kept the engine alive for ever."""
    with Rig(POOL, ranks=2, env={"VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": "10"}) as rig:
        rig.wait_ready()
        assert complete(rig).status_code == 200
        workers = [p for p in rig.processes() if "Worker" in "".join(p.cmdline())]
        assert len(workers) == 2
        workers[1].send_signal(signal.SIGSTOP)
        seen = until(lambda: (a := health(rig)) is None or (a.status_code == 503 and a), seconds=60)
        if seen is not True:
            assert seen.json()["status"] == "dead"
        until(lambda: rig.launcher.status().state != "RUNNING", seconds=60)
