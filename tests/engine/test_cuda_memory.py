"""The arithmetic of a card's memory, on answers of ``torch.cuda`` as they were recorded and written down.

It says nothing about a GPU: only that what a GPU answers is added up right, and that nothing it refuses is raised.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from unfrag.engine import ranks

GIB = 1 << 30
COUNTERS = {
    "allocated_bytes.all.current": 60 * GIB,
    "reserved_bytes.all.current": 62 * GIB,
    "inactive_split_bytes.all.current": GIB,
}
SEGMENTS = [
    {"device": 0, "segment_pool_id": (0, 0), "blocks": [{"state": "inactive", "size": 300}, {"state": "x", "size": 9}]},
    {"device": 0, "segment_pool_id": (0, 7), "blocks": [{"state": "inactive", "size": 900}]},  # a graph's own
    {"device": 1, "segment_pool_id": (0, 0), "blocks": [{"state": "inactive", "size": 500}]},
]


@pytest.fixture
def card(monkeypatch):
    """A worker on ``cuda:0`` and what its card answers, to be changed by a test."""
    parameter = torch.zeros(10, dtype=torch.float16)
    model = SimpleNamespace(parameters=lambda: [parameter])
    answers = SimpleNamespace(free=10 * GIB, snapshot=lambda include_traces=True: SEGMENTS, backend="native", emptied=0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (answers.free, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda device: COUNTERS)
    monkeypatch.setattr(torch.cuda, "memory_snapshot", lambda include_traces=True: answers.snapshot(include_traces))
    monkeypatch.setattr(torch.cuda, "get_allocator_backend", lambda: answers.backend)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: setattr(answers, "emptied", answers.emptied + 1))
    monkeypatch.setattr(ranks, "_segments", ranks._Segments())
    answers.worker = SimpleNamespace(rank=0, device=torch.device("cuda:0"), model_runner=SimpleNamespace(model=model))
    return answers


def test_the_bytes_of_a_card_add_up(card):
    entry = ranks.memory(card.worker)
    assert entry["total_bytes"] == 80 * GIB
    assert (entry["allocated_bytes"], entry["reserved_bytes"]) == (60 * GIB, 62 * GIB)
    assert entry["non_torch_bytes"] == (80 - 10 - 62) * GIB
    assert entry["weights_bytes"] == 20
    assert "unknown" not in entry


def test_private_pools_of_graphs_and_other_cards_are_no_room(card):
    assert ranks.memory(card.worker)["largest_free_segment_bytes"] == 300


def test_segments_are_asked_for_without_their_traces(card):
    asked = []
    card.snapshot = lambda include_traces: asked.append(include_traces) or SEGMENTS
    ranks.memory(card.worker)
    assert asked == [False]


def test_memory_that_is_unmapped_in_sleep_makes_no_negative_number(card):
    card.free = 75 * GIB
    entry = ranks.memory(card.worker)
    assert entry["non_torch_bytes"] is None
    assert "sleeps" in entry["unknown"]


def test_an_allocator_without_segments_is_null_with_the_reason(card):
    """``PYTORCH_ALLOC_CONF=backend:cudaMallocAsync``: a snapshot raises."""

    def refuse(include_traces):
        raise RuntimeError("snapshot is not supported")

    card.backend, card.snapshot = "cudaMallocAsync", refuse
    entry = ranks.memory(card.worker)
    assert entry["largest_free_segment_bytes"] is None
    assert entry["inactive_split_bytes"] is None
    assert entry["allocated_bytes"] == 60 * GIB
    assert "cudaMallocAsync" in entry["unknown"]


@pytest.mark.parametrize("name", ["mem_get_info", "memory_stats", "memory_snapshot"])
def test_whatever_the_card_refuses_nothing_is_raised(card, monkeypatch, name):
    def refuse(*args, **kwargs):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, name, refuse)
    entry = ranks.memory(card.worker)
    assert "illegal memory access" in entry["unknown"]
    assert entry["weights_bytes"] == 20


def test_memory_of_a_card_is_given_back_only_when_that_is_asked_for(card):
    kept = ranks.release(card.worker, asked=False)
    assert card.emptied == 0
    assert "other process" in kept["released"]
    assert ranks.release(card.worker, asked=True)["released"] is True
    assert card.emptied == 1


class Remote:
    """Answers as one rank does, or not at all."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), 0

    def ask(self, function):
        self.asked += 1
        return self.answers.pop(0)


def test_a_reading_that_failed_is_not_tried_again_at_once():
    from unfrag.engine.vllm.remote import Answer

    now = [0.0]
    good, bad = [Answer({"rank": 0}, None)], [Answer(None, "no snapshot")]
    remote = Remote(bad, bad, good)
    memory = ranks.RankMemory(remote, 1, lambda: False, lambda: now[0])
    for now[0], asked in ((0, 1), (4.9, 1), (5.1, 2), (14, 2), (15.2, 3)):
        memory.read()
        assert remote.asked == asked, now
    assert memory.read.__self__._last == [{"rank": 0}]
