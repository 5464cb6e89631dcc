"""When a series of measurements is growth, and not noise or a warm-up."""

from __future__ import annotations

from itertools import pairwise


def grows(values: tuple[float, ...], ratio: float, size: float) -> bool:
    """Ends higher than it began by both thresholds, mostly rises, and is not falling back at the end.

    Two values count when the rise is clear, since people paste "start 6.0, +12h 6.6".
    """
    if len(values) < 2:
        return False
    first, last = values[0], values[-1]
    if last - first < size or last < first * (1 + ratio) or last < max(values) * 0.97:
        return False
    steps = [after - before for before, after in pairwise(values)]
    rising = sum(step > 0 for step in steps)
    falling = sum(step < 0 for step in steps)
    if len(values) < 5:
        return falling == 0
    middle = values[len(values) // 2]
    late = last - middle >= (last - first) * 0.2  # what only rises at first is a warm-up
    return rising > falling * 2 and late
