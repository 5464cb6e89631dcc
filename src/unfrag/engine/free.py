"""The free blocks of vLLM's pool, and how ids lie together."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def free_blocks(pool: Any) -> list[Any]:
    """Blocks that no request refers to, empty or cached, by ascending id. O(blocks)."""
    return [block for block in pool.blocks if block.ref_cnt == 0 and not block.is_null]


def run_lengths(ascending: list[int]) -> list[int]:
    """Lengths of the runs of adjacent ids: ``[1, 2, 3, 7] -> [3, 1]``."""
    if not ascending:
        return []
    ids = np.asarray(ascending, dtype=np.int64)
    ends = np.flatnonzero(np.diff(ids) != 1)
    lengths: list[int] = np.diff(ends, prepend=-1, append=len(ids) - 1).tolist()
    return lengths


def fragmentation_ratio(free: int, largest: int) -> float:
    """The share of the free blocks outside the largest run; 0 when none is free."""
    return 1 - largest / free if free else 0.0


def count_runs(ids: Sequence[int]) -> int:
    """Ascending runs in the order given, as a copy from the first to the last would meet them."""
    return sum(b != a + 1 for a, b in pairwise(ids)) + bool(ids)
