"""What may be the cause where no exact form of an error says it: weak signals, each worth something, added up.

What each is worth (log-odds) was learned from labelled cases and stands in ``weights.txt``; ``tests/doctor/learn.py``
writes it. Of words only the share that they have among all known words counts, so that a long log says no more than a
short one.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from unfrag.system import resources

if TYPE_CHECKING:
    from collections.abc import Iterable

HEALTHY = "healthy"
WORDS_WEIGH = 5.0
"""The length of the vector of all words of one case."""
_SPEAKING = 4


class Hypothesis(msgspec.Struct, frozen=True):
    """A cause, or "healthy". ``speaks_for`` and ``against``: signals, the heaviest first."""

    cause: str
    share: float
    """Of all causes' probability, calibrated on cases that were held out; 0 to 1."""
    speaks_for: tuple[str, ...]
    against: tuple[str, ...]


class Weights(msgspec.Struct, frozen=True):
    causes: tuple[str, ...]
    base: tuple[float, ...]
    sharpness: float
    """What the sums are multiplied by so that shares are as often right as they say."""
    worth: dict[str, tuple[float, ...]]


def weigh(seen: Iterable[str]) -> list[Hypothesis]:
    """All causes by what these signals are worth, the likeliest first."""
    weights = _weights()
    known = {name: weights.worth[name] for name in seen if name in weights.worth}
    words = sum(name.startswith("word ") for name in known)
    scale = WORDS_WEIGH / math.sqrt(words) if words else 1.0
    parts = {name: [w * (scale if name.startswith("word ") else 1.0) for w in worth] for name, worth in known.items()}
    sums = [base + sum(part[i] for part in parts.values()) for i, base in enumerate(weights.base)]
    top = max(sums)
    odds = [math.exp((each - top) * weights.sharpness) for each in sums]
    mean = {name: sum(part) / len(part) for name, part in parts.items()}
    found = []
    for i, cause in enumerate(weights.causes):
        lift = sorted(((part[i] - mean[name], name) for name, part in parts.items()), reverse=True)
        found.append(
            Hypothesis(
                cause,
                odds[i] / sum(odds),
                tuple(name for worth, name in lift[:_SPEAKING] if worth > 0),
                tuple(name for worth, name in reversed(lift[-2:]) if worth < 0),
            )
        )
    return sorted(found, key=lambda each: each.share, reverse=True)


@cache
def _weights() -> Weights:
    """From the file: ``causes``, ``base`` and ``sharpness`` first, then a line for each signal."""
    lines = resources.text("unfrag.doctor.weigh", "weights.txt").splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    (_, *causes), (_, *base), (_, sharpness), *rest = rows
    number = {cause: i for i, cause in enumerate(causes)}
    worth = {}
    for name, *parts in rest:
        row = [0.0] * len(causes)
        for part in parts:
            cause, _, value = part.partition("=")
            row[number[cause]] = float(value)
        worth[name] = tuple(row)
    return Weights(tuple(causes), tuple(map(float, base)), float(sharpness), worth)
