"""What a rule says of a snapshot."""

from __future__ import annotations

from typing import Literal

import msgspec

from unfrag.facts.values import Share

Severity = Literal["critical", "warning", "info"]


class Finding(msgspec.Struct, frozen=True):
    """One judgement of one rule. ``severity`` is critical, warning or info; ``confidence`` is 0 to 1.

    ``summary`` says what was seen, ``meaning`` what that means, ``harmless`` when to leave it alone,
    ``fixes`` what to do next, the best first.
    """

    id: str
    cause: str
    severity: Severity
    confidence: Share
    summary: str
    evidence: tuple[str, ...]
    fixes: tuple[str, ...]
    meaning: str = ""
    harmless: str = ""
