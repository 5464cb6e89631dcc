"""The index against a store that is a dictionary: a row that is served is the row that belongs there."""

from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from unfrag.engine.experts.index import NOWHERE, RouteIndex, Scheduled

BLOCK = 4


class Request:
    """Tokens, of which some are the prompt's; hashes of the full blocks among those that are known so far."""

    def __init__(self, name, prompt, to_come):
        self.name, self.prompt, self.to_come = name, prompt, to_come
        self.tokens = list(prompt)
        self.computed = self.preemptions = 0

    def __len__(self):
        return len(self.tokens) // BLOCK

    def __getitem__(self, block):
        return route(self.tokens, (block + 1) * BLOCK - 1)


def route(tokens, position):
    """What a token's experts depend on: itself and all before it."""
    return hashlib.sha256(repr(tokens[: position + 1]).encode()).digest()


class Ranks:
    """Obeys orders as a worker does: all reads, then all writes."""

    def __init__(self, slots, verify_every):
        self.rows = {}
        self.index = RouteIndex(slots, BLOCK, verify_every)
        self.every = verify_every
        self.served = self.routed = 0

    def step(self, batch, finished=()):
        """``batch``: (request, tokens to compute)."""
        scheduled = [
            Scheduled(r.name, r.name, r, len(r.prompt), r.preemptions, len(r.tokens), r.computed, count)
            for r, count in batch
        ]
        orders = self.index.orders(scheduled, finished)
        writes = {}
        for request, count in batch:
            order = orders.requests[request.name]
            for position in range(request.computed, request.computed + count):
                block = position // BLOCK - order.start // BLOCK
                slot, row = order.slots[block], position % BLOCK
                truth = route(request.tokens, position)
                checked = self.every and position % self.every == orders.phase
                if slot != NOWHERE and row < order.known[block] and not checked:
                    assert self.rows[slot, row] == truth
                    self.served += 1
                    continue
                self.routed += 1
                if slot != NOWHERE:
                    writes[slot, row] = truth
        self.rows |= writes
        for request, count in batch:
            request.computed += count
            if request.computed == len(request.tokens) and request.to_come:
                request.tokens.append(request.to_come.pop(0))


TOKEN = st.integers(0, 2)  # few kinds, so that prompts share prefixes


@settings(max_examples=300)
@given(st.integers(1, 12), st.sampled_from([0, 3, 8]), st.data())
def test_a_row_that_is_served_is_the_row_that_belongs_there(slots, every, data):
    ranks, running, names, gone = Ranks(slots, every), [], iter(range(1000)), []
    for _ in range(data.draw(st.integers(1, 25))):
        what = data.draw(st.sampled_from(["add", "step", "step", "step", "preempt", "finish", "skip", "clear"]))
        if what == "add":
            prompt = data.draw(st.lists(TOKEN, min_size=1, max_size=14))
            running.append(Request(str(next(names)), prompt, data.draw(st.lists(TOKEN, max_size=8))))
        elif what == "step":
            batch = [
                (r, data.draw(st.integers(1, len(r.tokens) - r.computed)))
                for r in running
                if r.computed < len(r.tokens)
            ]
            ranks.step(batch, gone)
            gone = []
        elif what == "clear":
            ranks.index.clear()
            ranks.rows.clear()
        elif running:
            request = data.draw(st.sampled_from(running))
            if what == "preempt":
                request.computed, request.preemptions = 0, request.preemptions + 1
            elif what == "finish":
                running.remove(request)
                gone.append(request.name)
            elif request.computed == 0:  # the KV of a first part was cached, so its rows are never computed
                request.computed = data.draw(st.integers(0, (len(request.tokens) - 1) // BLOCK)) * BLOCK
        assert ranks.index.held <= slots
    ranks.step([], [r.name for r in running] + gone)
    assert ranks.index.held == ranks.index.blocks


def test_a_prefix_computed_again_is_served_from_its_first_token_to_its_last_full_block():
    ranks = Ranks(8, 0)
    prompt = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    ranks.step([(Request("a", prompt, []), 10)])
    ranks.step([(Request("b", prompt, []), 10)], ["a"])
    assert ranks.served == 8
    assert ranks.index.share("a") == (0, 10)
    assert ranks.index.share("b") == (8, 10)
    assert ranks.index.share("c") is None


def test_what_a_preempted_request_computed_is_served_also_in_its_last_block():
    ranks = Ranks(8, 0)
    request = Request("a", [1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11])
    ranks.step([(request, 5)])
    for _ in range(5):
        ranks.step([(request, 1)])
    assert (request.computed, ranks.served) == (10, 0)
    request.computed, request.preemptions = 0, 1
    ranks.step([(request, 7)])
    ranks.step([(request, 3)])
    assert ranks.served == 10


def test_what_was_in_flight_when_a_request_was_preempted_is_computed_again():
    """vLLM may drop such a token and sample another one in its place."""
    ranks = Ranks(8, 0)
    request = Request("a", [1, 2, 3, 4, 5], [6, 7])
    ranks.step([(request, 5)])
    ranks.step([(request, 1)])
    request.computed, request.preemptions, request.tokens = 0, 1, [1, 2, 3, 4, 5]
    ranks.step([(request, 5)])
    assert ranks.served == 5
    request.tokens = [1, 2, 3, 4, 5, 9]
    ranks.step([(request, 1)])
    request.tokens += [7, 7]
    ranks.step([(request, 2)], ())
    ranks.step([(Request("b", [1, 2, 3, 4, 5, 9, 7, 7], []), 8)], ["a"])
    assert ranks.served == 13


def test_a_name_that_is_used_again_begins_anew():
    ranks = Ranks(8, 0)
    for expected in ((0, 8), (8, 8)):
        ranks.step([(Request("same", [1] * 8, []), 8)])
        assert ranks.index.share("same") == expected
        ranks.step([], ["same"])


def test_a_slot_that_is_read_in_a_step_is_not_given_to_another_in_it():
    ranks = Ranks(2, 0)
    for name in ("a", "b"):
        ranks.step([(Request(name, [ord(name)] * 4, []), 4)])
        ranks.step([], [name])
    reading = [(Request(name.upper(), [ord(name)] * 4, []), 4) for name in ("a", "b")]
    ranks.step([*reading, (Request("c", [7] * 4, []), 4)])
    assert ranks.index.counts.evictions == 0


def test_the_least_recently_used_block_makes_room():
    ranks = Ranks(2, 0)
    for name, prompt in (("a", [1] * 4), ("b", [2] * 4), ("c", [1] * 4), ("d", [3] * 4)):
        ranks.step([(Request(name, prompt, []), 4)])
        ranks.step([], [name])
    assert ranks.index.counts.evictions == 1
    ranks.step([(Request("e", [1] * 4, []), 4), (Request("f", [2] * 4, []), 4)])
    assert (ranks.index.share("e"), ranks.index.share("f")) == ((4, 4), (0, 4))


def test_an_answer_to_several_prompts_is_told_as_one():
    ranks = Ranks(8, 0)
    for name in ("x-0", "x-1", "x-2"):
        ranks.step([(Request(name, [1] * 8, []), 8)])
    assert ranks.index.share("x") == (16, 24)


def test_of_what_is_verified_only_the_rest_counts_as_served():
    ranks = Ranks(64, 8)
    prompt = list(range(160))
    ranks.step([(Request("a", prompt, []), 160)])
    ranks.step([(Request("b", prompt, []), 160)])
    assert ranks.served == 140
    assert ranks.index.share("b") == (140, 160)
    observing = Ranks(64, 1)
    observing.step([(Request("a", prompt, []), 160)])
    observing.step([(Request("b", prompt, []), 160)])
    assert observing.index.share("b") == (0, 160)
    assert observing.index.counts.hits == 160
