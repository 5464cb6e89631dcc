"""Numbers that say by themselves what they are: with their unit, broken, or a version."""

from __future__ import annotations

import re

from unfrag.doctor.allowed import releases, vocabulary

NUMBER = re.compile(r"[-+~≈]?\d[\d,._]*")
_WITH_UNIT = re.compile(r"[-+~≈]?\d{1,15}(?:[.,]\d{1,9}){0,6}(?P<unit>[A-Za-z%°/]{1,10})")
_DECIMAL = re.compile(r"[-+]?\d{1,9}\.\d{1,9}(?:e[-+]?\d{1,3})?")


def stays(word: str) -> bool:
    """``12.5k``, ``48GiB``, ``0.92``, ``2.9.1+cu128``."""
    unit = _WITH_UNIT.fullmatch(word)
    has_unit = unit is not None and vocabulary.is_unit(unit["unit"])
    return has_unit or bool(_DECIMAL.fullmatch(word)) or releases.is_version(word)
