"""A rule's judgement in words: its page's templates, filled in, in the flags of the engine at hand."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from unfrag.doctor.words import pages
from unfrag.facts.finding import CONFIDENCE, Finding, FlagChange

if TYPE_CHECKING:
    from unfrag.doctor.weigh.dialect import Dialect
    from unfrag.doctor.weigh.judged import Judged


def say(cause: str, judged: Judged, dialect: Dialect, language: str = "en") -> Finding:
    """The finding that JSON and text print."""
    head = pages.head(cause, language)
    values = judged.values
    fixes: list[str] = []
    changes: list[FlagChange] = []
    for name in head.fixes if judged.fixes is None else judged.fixes:
        fix = head.fixes[name]
        text = dialect.say(fix.text.format_map(values))
        if text is None:
            continue
        given = dialect.say(fix.set.format_map(values)) or ""
        gone = dialect.say(fix.unset.format_map(values)) or ""
        changes += flags(given, len(fixes)) + flags(gone, len(fixes), unset=True)
        fixes.append(text)
    return Finding(
        id=head.id,
        cause=cause,
        severity=judged.severity or head.severity,
        confidence=CONFIDENCE[judged.certainty],
        certainty=judged.certainty,
        summary="".join(head.seen[name].format_map(values) for name in judged.seen),
        evidence=judged.evidence,
        fixes=tuple(fixes),
        meaning=_one_of(head.meaning, judged.meaning).format_map(values),
        harmless=_one_of(head.harmless, judged.harmless).format_map(values),
        changes=tuple(changes),
    )


def _one_of(texts: str | dict[str, str], name: str) -> str:
    return texts if isinstance(texts, str) else texts[name]


def flags(words: str, fix: int, *, unset: bool = False) -> list[FlagChange]:
    """ "--a 1 --b" and "VARIABLE=value", read as a shell would."""
    found: list[FlagChange] = []
    for word in shlex.split(words):
        if word.startswith("--") or (unset and not found):
            found.append(FlagChange(fix, word, unset=unset))
        elif "=" in word and word.partition("=")[0].isupper():
            name, _, value = word.partition("=")
            found.append(FlagChange(fix, name, value))
        elif found and found[-1].value is None and not unset:
            found[-1] = FlagChange(fix, found[-1].flag, word)
        else:
            found.append(FlagChange(fix, word, unset=unset))
    return found
