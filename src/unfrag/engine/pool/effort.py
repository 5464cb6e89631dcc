"""When the background compaction runs and how hard: in the manner of Redis's active defragmentation. Pure functions.

It starts when the free blocks are scattered by a share *and* by an amount worth the copying, works harder the more they
are, and stops by itself well below where it started, so that it does not start again at once.
"""

from __future__ import annotations

import msgspec


class Policy(msgspec.Struct, frozen=True):
    """Ratios are of ``fragmentation_ratio``; bytes of free blocks outside the largest run; moves of blocks a step."""

    start_ratio: float = 0.4
    start_bytes: int = 256 << 20
    stop_ratio: float = 0.1
    least_moves: int = 4
    most_moves: int = 64
    look_every: int = 32
    """Steps between two looks while it rests."""
    move_every: int = 8
    """Steps from one pass to the next while it works: a pass waits for the step in flight."""
    pass_bytes: int = 16 << 20
    """Copied on each rank in one pass, at most, but for a single block that is larger."""


def effort(policy: Policy, ratio: float, scattered_bytes: int, active: bool) -> int:
    """Moves for the next pass; 0: rest. ``active``: did it move in the step before?"""
    if ratio < policy.stop_ratio or scattered_bytes <= 0:
        return 0
    if not active and (ratio < policy.start_ratio or scattered_bytes < policy.start_bytes):
        return 0
    share = (ratio - policy.stop_ratio) / (1 - policy.stop_ratio)
    return policy.least_moves + round(share * (policy.most_moves - policy.least_moves))
