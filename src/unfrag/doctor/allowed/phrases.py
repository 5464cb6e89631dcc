"""Which words stand together in known messages: three in a row, as in the messages of vLLM or in the doctor's own."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from ahocorasick_rs import AhoCorasick

from unfrag.doctor.probes.log.messages import MESSAGES
from unfrag.doctor.probes.log.pattern import Compiled, compiled
from unfrag.flags.check import LISTED
from unfrag.system import resources

if TYPE_CHECKING:
    from collections.abc import Sequence

NUMBER, START, END = "#", "^", "$"
SPLIT = re.compile(r"[^\s\"'`,;()\[\]{}<>=|!?&…]+")
_ESCAPES = re.compile(r"\\[a-zA-Z]|<\w+:\w+>|\(\?P<\w+>|\{\d*,?\d*\}")
_ONLY_NUMBERS = re.compile(r"[\d., ]{1,200}")
_EITHER = re.compile(r"\[(\w)\w\]")
_FILES = ("messages-others.txt", *(f"messages-{version}.txt" for version in LISTED))


def word_of(token: str) -> str:
    """As it is compared: in lower case, without what ends a sentence; ``#`` for a number."""
    bare = token.strip(".:*-_#/")
    return NUMBER if bare[:1].isdigit() else bare.lower()


@cache
def _threes() -> frozenset[tuple[str, str, str]]:
    found: set[tuple[str, str, str]] = set()
    for name in _FILES:
        for line in resources.text("unfrag.doctor.allowed", name).splitlines():
            words = _words(line)
            found.update(zip(words, words[1:], words[2:], strict=False))
    return frozenset(found)


def _words(message: str) -> list[str]:
    said = [word_of(token) for token in SPLIT.findall(message.replace("{}", " 0 "))]
    return [START, *filter(None, said), END]


def known_together(words: Sequence[str]) -> set[int]:
    """The places of those words that stand among words as in some known message."""
    row, kept = [START, *words, END], set()
    for at in range(len(row) - 2):
        if (row[at], row[at + 1], row[at + 2]) in _threes() and (row[at : at + 3] != [NUMBER] * 3):
            kept |= {at - 1, at, at + 1}
    return kept - {-1, len(words)}


@cache
def _doctors() -> tuple[AhoCorasick, list[list[tuple[Compiled, frozenset[str]]]]]:
    by_trigger: dict[str, list[tuple[Compiled, frozenset[str]]]] = {}
    for message in MESSAGES:
        words = _EITHER.sub(r"\1", _ESCAPES.sub(" ", message.template))
        entry = (compiled(message), frozenset(word.lower() for word in re.findall(r"[A-Za-z]{2,}", words)))
        for trigger in message.triggers:
            by_trigger.setdefault(trigger, []).append(entry)
    return AhoCorasick(list(by_trigger)), list(by_trigger.values())


class Known(NamedTuple):
    """A message that a rule asks for: where it stands, its own words, and where its numbers are."""

    start: int
    end: int
    words: frozenset[str]
    numbers: tuple[tuple[int, int], ...]

    def says(self, at: int, token: str) -> bool:
        """Is this word its own, or one of its numbers?"""
        if not token.isascii() or not self.start <= at < self.end:
            return False
        if any(start <= at and at + len(token.rstrip(".:")) <= end for start, end in self.numbers):
            return True
        parts = re.findall(r"[A-Za-z]+|\d+", token)
        return bool(parts) and all(part.lower() in self.words or len(part) < 2 for part in parts)


@lru_cache(1 << 12)
def of_the_doctor(line: str) -> tuple[Known, ...]:
    """The messages in this line that a rule asks for."""
    automaton, entries = _doctors()
    hits = {which for which, _, _ in automaton.find_matches_as_indexes(line, overlapping=True)}
    known = []
    for pattern, words in (entry for which in sorted(hits) for entry in entries[which]):
        if (found := pattern.regex.search(line)) is not None:
            groups = [
                found.span(i) for i, said in enumerate(found.groups(), 1) if said and _ONLY_NUMBERS.fullmatch(said)
            ]
            known.append(Known(found.start(), found.end(), words, tuple(groups)))
    return tuple(known)
