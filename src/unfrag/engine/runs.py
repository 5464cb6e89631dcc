"""Runs of adjacent ids."""

from __future__ import annotations

import numpy as np


def run_lengths(ascending: list[int]) -> list[int]:
    """Lengths of the runs of adjacent ids: ``[1, 2, 3, 7] -> [3, 1]``."""
    if not ascending:
        return []
    ids = np.asarray(ascending, dtype=np.int64)
    ends = np.flatnonzero(np.diff(ids) != 1)
    lengths: list[int] = np.diff(ends, prepend=-1, append=len(ids) - 1).tolist()
    return lengths
