"""A workload from a trace and from a bench, and what a running server has to spare."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.snapshots import a_pool, a_snapshot
from unfrag.bench.result import MaxConcurrency, Result
from unfrag.errors import NotEnoughEvidence, UsageError
from unfrag.facts.memory_stats import Rank
from unfrag.facts.snapshot import Gpu, Gpus, Metrics
from unfrag.facts.values import Unknown
from unfrag.plan import reserved, workload

GIB = 2**30


def turn(length, answer, ids):
    return {"timestamp": 0, "input_length": length, "output_length": answer, "hash_ids": ids}


def test_a_trace_says_lengths_and_sharing(tmp_path):
    trace = tmp_path / "trace.jsonl"
    turns = [turn(1024, 100, [1, 2]), turn(2048, 300, [1, 2, 3, 4])]
    trace.write_text("\n".join(map(json.dumps, turns)) + "\nbroken\n{}\n[]\n")
    found = workload.of_trace(trace)
    assert (found.prompt, found.output, found.longest) == (1536, 200, 2348)
    assert found.shared == pytest.approx(2 / 6)
    assert found.request_tokens == 1024 + 200


@given(st.binary(max_size=200))
def test_no_trace_breaks_it(tmp_path_factory, content):
    trace = tmp_path_factory.mktemp("t") / "trace.jsonl"
    trace.write_bytes(content)
    with pytest.raises(NotEnoughEvidence):
        workload.of_trace(trace)


def test_a_bench_says_what_a_request_held(tmp_path):
    held = (MaxConcurrency(value=20, ttft_limit=1.0, at_ceiling=False, trials=()),)
    result = Result("a", "http://x", None, None, "documents", 8, (), held, pool_bytes=1, pool_tokens=50_000)
    path = tmp_path / "result.json"
    result.write(path)
    found = workload.of_bench(path)
    assert (found.concurrency, found.held, found.request_tokens) == (8, 20, 2500)
    path.write_text("{}")
    with pytest.raises(UsageError, match="unfrag bench"):
        workload.of_bench(path)


def a_rank(free, slack):
    return Rank(0, "cuda:0", 80 * GIB, 60 * GIB, 60 * GIB + slack, 0, 0, 80 * GIB - 60 * GIB - slack - free)


def whats(snapshot):
    found = reserved.find(snapshot)
    return found if isinstance(found, Unknown) else [item.what for item in found]


def test_memory_that_a_running_server_does_not_use():
    tight = a_pool(ranks=(a_rank(GIB, 0),), gpu_cache_usage=0.9)
    assert whats(a_snapshot(pool=tight)) == []
    (spare,) = reserved.find(a_snapshot(pool=a_pool(ranks=(a_rank(5 * GIB, 0),), gpu_cache_usage=0.9)))
    assert spare.bytes == 4 * GIB
    assert f"--kv-cache-memory-bytes {tight.capacity_bytes + 4 * GIB}" in spare.do
    assert any("past peak" in what for what in whats(a_snapshot(pool=a_pool(ranks=(a_rank(0, 3 * GIB),)))))


def test_an_idle_pool_is_named_and_a_busy_one_is_not():
    idle = a_pool(gpu_cache_usage=0.0, total_blocks=1000, free_blocks=1000, cached_blocks=0)
    assert any("hold nothing" in what for what in whats(a_snapshot(pool=idle, metrics=Metrics(waiting=0))))
    assert whats(a_snapshot(pool=idle, metrics=Metrics(waiting=3))) == []
    warm = a_pool(gpu_cache_usage=0.0, total_blocks=1000, free_blocks=1000, cached_blocks=990)
    assert whats(a_snapshot(pool=warm)) == []


def test_without_the_plugin_the_cards_say_it_and_without_those_nothing_does():
    cards = Gpus((Gpu(0, None, "H100", 80 * GIB, 70 * GIB), Gpu(1, None, "H100", 80 * GIB, 77 * GIB)), (), "nvml")
    (spare,) = reserved.find(a_snapshot(pool=Unknown("no plugin"), gpus=cards))
    assert spare.bytes == 2 * GIB
    assert isinstance(whats(a_snapshot(pool=Unknown("no plugin"), gpus=Unknown("no NVML"))), Unknown)
