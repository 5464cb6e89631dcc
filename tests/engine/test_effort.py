"""When the background compaction works, and how hard: a table of states, and what must hold for all of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unfrag.engine.pool.effort import Policy, effort

MIB = 1 << 20
POLICY = Policy()


@pytest.mark.parametrize(
    ("ratio", "scattered", "active", "works"),
    [
        (0.9, 1000 * MIB, False, True),
        (0.9, 1 * MIB, False, False),  # scattered by a share, but hardly any memory
        (0.2, 1000 * MIB, False, False),  # much memory, but a small share
        (0.2, 1000 * MIB, True, True),  # once it works it goes on well below where it started
        (0.2, 1 * MIB, True, True),
        (0.05, 1000 * MIB, True, False),
        (0.0, 0, True, False),
    ],
)
def test_states(ratio, scattered, active, works):
    assert (effort(POLICY, ratio, scattered, active) > 0) is works


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 1 << 40), st.booleans())
def test_the_worse_it_is_the_harder_it_works_within_bounds(one, other, scattered, active):
    less, more = sorted((one, other))
    little, much = (effort(POLICY, ratio, scattered, active) for ratio in (less, more))
    assert little <= much <= POLICY.most_moves
    assert much == 0 or much >= POLICY.least_moves
