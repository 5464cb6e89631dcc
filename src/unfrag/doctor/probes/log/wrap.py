"""Logs that a terminal broke at its width: find the width, put the lines together again."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

_NARROWEST, _WIDEST = 60, 240
_SAMPLE_LINES = 4000
_FEWEST, _SHARE = 3, 0.04
_STARTS = re.compile(
    r"^(?:\x1b|\(\w|\[|(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\b|\d{4}-|\d\d:|\+-|\||Traceback|\s{2,}File |\$ |# |[\w.-]+\s+\| )"
)


def width(chunk: bytes) -> int:
    """The width that lines were cut at; 0 for a log that was not wrapped."""
    lines = chunk.decode("utf-8", "replace").splitlines()[:_SAMPLE_LINES]
    if not lines:
        return 0
    lengths = Counter(len(line) for line in lines if _NARROWEST <= len(line) <= _WIDEST)
    broken = Counter(len(a) for a, b in pairwise(lines) if len(a) in lengths and b.strip() and not _STARTS.match(b))
    for length, times in broken.most_common(3):
        longer = sum(number for other, number in lengths.items() if other > length)
        if (
            times >= max(_FEWEST, len(lines) * _SHARE)
            and times >= lengths[length] * 0.6
            and longer <= lengths[length] * 0.1
        ):
            return length
    return 0


def undo(chunk: bytes, at: int) -> bytes:
    """Lines of exactly this many characters go on in the next one, unless that one is a beginning."""
    joined: list[str] = []
    goes_on = False
    for line in chunk.decode("utf-8", "replace").splitlines():
        if goes_on and not _STARTS.match(line):
            joined[-1] += line
        else:
            joined.append(line)
        goes_on = len(line) == at
    return ("\n".join(joined) + "\n").encode("utf-8", "replace")
