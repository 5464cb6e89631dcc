"""What a rule says of a snapshot."""

from __future__ import annotations

from typing import Literal

import msgspec

from unfrag.facts.values import Share

Severity = Literal["critical", "warning", "info"]
Certainty = Literal["proven", "strong", "likely", "possible"]

# The number that stands for each certainty in JSON and in text; nothing is decided by it.
CONFIDENCE: dict[Certainty, float] = {"proven": 0.95, "strong": 0.85, "likely": 0.7, "possible": 0.45}
CERTAINTIES: tuple[Certainty, ...] = tuple(CONFIDENCE)
# From the mildest to the gravest.
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")


class FlagChange(msgspec.Struct, frozen=True):
    """One flag that a fix gives, or takes away.

    Attributes:
        fix: which of the finding's fixes, counted from 0.
        flag: with its dashes, as the engine at hand spells it; or an environment variable's name.
        value: None: the flag takes none, or is to go.
        unset: it is to go.
    """

    fix: int
    flag: str
    value: str | None = None
    unset: bool = False


class Finding(msgspec.Struct, frozen=True):
    """One judgement of one rule. ``severity`` is critical, warning or info; ``confidence`` is 0 to 1.

    ``summary`` says what was seen, ``meaning`` what that means, ``harmless`` when to leave it alone,
    ``fixes`` what to do next, the best first. ``certainty`` is proven, strong, likely or possible, and ``confidence``
    its number. ``changes`` are the flags that the fixes set or unset, where they do.
    """

    id: str
    cause: str
    severity: Severity
    confidence: Share
    certainty: Certainty
    summary: str
    evidence: tuple[str, ...]
    fixes: tuple[str, ...]
    changes: tuple[FlagChange, ...]
    meaning: str
    harmless: str
