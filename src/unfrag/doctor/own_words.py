"""What the failed program itself advises, beside what the doctor does: often the cure, and never to be withheld."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from unfrag.doctor.words.language import words
from unfrag.facts.log import Log

if TYPE_CHECKING:
    from unfrag.facts.finding import Finding
    from unfrag.facts.snapshot import Snapshot


def with_own_words(findings: list[Finding], snapshot: Snapshot, language: str = "en") -> list[Finding]:
    """The findings, the first with a line that names what its fixes do not name yet."""
    if not findings:
        return findings
    best = findings[0]
    said = " ".join(best.fixes)
    names = dict.fromkeys(name for name in _advised(snapshot) if name not in said)
    if not names:
        return findings
    line = words(language).says["own_words"].format(names=", ".join(names))
    where = len(best.fixes) - any(
        fix.startswith(words(language).says["decide"].partition("{")[0]) for fix in best.fixes
    )
    fixes = (*best.fixes[:where], line, *best.fixes[where:])
    return [msgspec.structs.replace(best, fixes=fixes), *findings[1:]]


def _advised(snapshot: Snapshot) -> tuple[str, ...]:
    """By the log alone: a launch line names flags too, and advises nothing."""
    return snapshot.log.advised if isinstance(snapshot.log, Log) else ()
