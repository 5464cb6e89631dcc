"""Numbers of a command line that make sense."""

from __future__ import annotations

import argparse
import math
import re

from unfrag.units import read_count


def count(text: str) -> int:
    """A whole number from 1 to a million."""
    return _whole(text, 1_000_000)


def tokens(text: str) -> int:
    """A number of tokens, also as vLLM takes it: 128k is 128,000, 128K is 131,072."""
    return _whole(text, 1 << 30)


def _whole(text: str, most: int) -> int:
    found = re.fullmatch(r"([0-9]{1,12})(?:\.([0-9]{1,6}))?([kmKM]?)", text.strip())
    if found is None or (found[2] and found[3] not in ("k", "m")):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no whole number; write 4096, 32k or 32K")
    value = round(read_count(found[0]))
    if not 1 <= value <= most:
        raise argparse.ArgumentTypeError(f"{text[:40]} is not between 1 and {most:,}")
    return value


def seconds(text: str) -> float:
    """A time above zero."""
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text} is not a time above zero")
    return value


def share(text: str) -> float:
    """A share of a whole, above 0 and at most 1."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value
