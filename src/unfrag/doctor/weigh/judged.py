"""What a rule hands back: names of sentences of its page, and what is filled into them. The words are the page's."""

from __future__ import annotations

from typing import Any

import msgspec

from unfrag.facts.finding import CERTAINTIES, Certainty, Severity


class Judged(msgspec.Struct, frozen=True):
    """A judgement without words.

    Attributes:
        seen: names under ``[seen]`` in the page's head, said one after the other.
        evidence: quoted lines.
        values: what the sentences and the fixes are filled with; sizes are texts already.
        fixes: names under ``[fixes]``; None: all of them, in the page's order.
        severity: None: the page's.
        meaning, harmless: which, where the page has several.
        explains: causes whose findings this one accounts for, so that it goes before them.
    """

    seen: tuple[str, ...]
    evidence: tuple[str, ...]
    certainty: Certainty
    values: dict[str, Any]
    fixes: tuple[str, ...] | None = None
    severity: Severity | None = None
    meaning: str = ""
    harmless: str = ""
    explains: tuple[str, ...] = ()


def judged(
    seen: str | tuple[str, ...],
    line: str | tuple[str, ...],
    certainty: Certainty,
    *,
    fixes: tuple[str, ...] | None = None,
    severity: Severity | None = None,
    meaning: str = "",
    harmless: str = "",
    explains: tuple[str, ...] = (),
    **values: Any,
) -> Judged:
    """A judgement by one line of evidence, or several."""
    return Judged(
        seen=(seen,) if isinstance(seen, str) else seen,
        evidence=(line,) if isinstance(line, str) else line,
        certainty=certainty,
        values=values,
        fixes=fixes,
        severity=severity,
        meaning=meaning,
        harmless=harmless,
        explains=explains,
    )


def weaker(certainty: Certainty, steps: int) -> Certainty:
    """So many steps less certain; "possible" is the least."""
    return CERTAINTIES[min(CERTAINTIES.index(certainty) + steps, len(CERTAINTIES) - 1)]
