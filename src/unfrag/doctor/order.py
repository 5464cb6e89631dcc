"""Of several findings: which comes first, and which are only echoes of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unfrag.doctor.rules import foreign_process, not_memory, profiling_underestimate, utilization_too_high
from unfrag.facts.finding import CERTAINTIES, SEVERITIES

if TYPE_CHECKING:
    from unfrag.facts.finding import Certainty, Finding

_SURE: tuple[Certainty, ...] = ("proven", "strong", "likely")


def without_echoes(findings: list[Finding], explained: set[tuple[str, str]]) -> list[Finding]:
    """Drop what only follows from the best finding, and whose advice would not help.

    Without memory to do with it is mostly the echo of a fault that has; and while others hold the card, no share or
    peak of our own is right.
    """
    if not findings or findings[0].certainty not in _SURE:
        return findings
    echoes = {not_memory.CAUSE} - {findings[0].cause}
    best = findings[0].cause
    if best == foreign_process.CAUSE or (foreign_process.CAUSE, best) in explained:
        echoes |= {utilization_too_high.CAUSE, profiling_underestimate.CAUSE}
    return [finding for finding in findings if finding.cause not in echoes]


def rank(finding: Finding) -> tuple[bool, int, int]:
    """What is only worth knowing last, then by certainty; of two that are alike the graver, then the more particular.

    Sorting keeps the order of RULES, from the particular to the general.
    """
    return (
        finding.severity == "info",
        CERTAINTIES.index(finding.certainty),
        -SEVERITIES.index(finding.severity),
    )


def put_after(findings: list[Finding], cause: str, by: str) -> None:
    """What another finding accounts for goes behind it."""
    causes = [finding.cause for finding in findings]
    if cause in causes and causes.index(cause) < causes.index(by):
        findings.insert(causes.index(by), findings.pop(causes.index(cause)))
