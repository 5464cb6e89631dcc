"""Digits that read as a person's: a telephone number, a credit card's, one of an office."""

from __future__ import annotations

import re

_GROUPS = re.compile(r"(?<![\w.,:/-])[+(]{0,2}\d{1,8}\)?(?:[ -]\(?\d{2,8}\)?){1,6}(?![\w:/-]|[.,]\d)")
_CALLED = re.compile(r"(?<![\w.,])(?:\+\d{8,15}|0\d{2,5}[/ -]\d{3,9})(?!\w)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_FEWEST = 9


def of_people(line: str) -> list[tuple[int, int]]:
    """Where such digits stand, as (start, end)."""
    found = [match.span() for match in _CALLED.finditer(line)]
    for match in _GROUPS.finditer(line):
        digits = sum(char.isdigit() for char in _DATE.sub("", match[0]))
        if digits >= _FEWEST:
            found.append(match.span())
    return found
