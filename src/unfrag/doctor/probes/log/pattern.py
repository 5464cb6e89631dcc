"""Patterns for messages, written as they are read: a regular expression with ``<name:kind>`` for what varies.

A space stands for any white space, since pasted logs wrap. Kinds: ``size`` ("1.5 GiB", in bytes), ``gib`` (a bare
number of GiB), ``num``, ``int``, ``word``, ``text``.
"""

from __future__ import annotations

import re

import msgspec

from unfrag.units import GIB, scale

_KINDS = {
    "size": r"-?[0-9][0-9.,]{0,30}\s*(?:bytes|[KMGT]i?B|B)\b",
    "gib": r"-?[0-9][0-9.,]{0,30}",
    "num": r"-?[0-9][0-9.,]{0,30}",
    "int": r"[0-9][0-9,]{0,30}",
    "word": r"[^\s,;'\"]+",
    "text": r".{1,200}?",
}
_HOLE = re.compile(r"<(\w+):(size|gib|num|int|word|text)>")
_SPACE = re.compile(r"\[(?:\\.|[^\]])*\]| [?*+]?")
_SIZE = re.compile(r"(-?[0-9][0-9.,]{0,30})\s*([A-Za-z]+)")
_LONGEST_NUMBER = 24


class Message(msgspec.Struct, frozen=True):
    """A message that programs print. ``triggers``: a line is looked at only when it contains one of them."""

    kind: str
    triggers: tuple[str, ...]
    template: str


class Compiled(msgspec.Struct, frozen=True):
    kind: str
    regex: re.Pattern[str]
    holes: dict[str, str]

    def read(self, text: str) -> tuple[dict[str, float], dict[str, str]] | None:
        """(numbers, words) of the message, or None when it is not in the text."""
        found = self.regex.search(text)
        if found is None:
            return None
        numbers: dict[str, float] = {}
        words: dict[str, str] = {}
        for name, said in found.groupdict().items():
            if said is None:
                continue
            kind = self.holes.get(name) or ("num" if number(said) is not None else "word")
            if kind in ("word", "text"):
                words[name] = said
            elif (value := number(said, kind)) is not None:
                numbers[name] = value
        return numbers, words


def compiled(message: Message) -> Compiled:
    """The message's regular expression, case ignored."""
    holes = dict(_HOLE.findall(message.template))
    pattern = _HOLE.sub(lambda hole: f"(?P<{hole[1]}>{_KINDS[hole[2]]})", message.template)
    return Compiled(message.kind, re.compile(_SPACE.sub(_any_space, pattern), re.IGNORECASE), holes)


def _any_space(found: re.Match[str]) -> str:
    """White space of any kind and length for a space, but none of it in a character class."""
    if found[0].startswith("["):
        return found[0]
    return r"\s*" if found[0][1:] in ("?", "*") else r"\s+"


def number(said: str, kind: str = "num") -> float | None:
    """``"1.5 GiB"`` in bytes, ``"349,440"`` as 349440; None for what is no number after all."""
    if len(said) > _LONGEST_NUMBER:
        return None
    if kind == "size":
        return size(said)
    try:
        value = float(said.replace(",", "").rstrip("."))
    except ValueError:
        return None
    return value * GIB if kind == "gib" else value


def size(said: str) -> float | None:
    """Bytes of ``"402.11 MiB"``."""
    found = _SIZE.match(said)
    if found is None:
        return None
    unit, value = scale(found[2]), number(found[1])
    return None if unit is None or value is None else value * unit
