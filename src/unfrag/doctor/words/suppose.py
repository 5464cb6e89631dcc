"""A hypothesis in words: what speaks for it and against it, what to do, and the one command that would decide."""

from __future__ import annotations

import re
from string import Formatter
from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.doctor.words import pages
from unfrag.doctor.words.language import words
from unfrag.doctor.words.say import flags
from unfrag.facts.finding import Finding, FlagChange

if TYPE_CHECKING:
    from unfrag.doctor.weigh.dialect import Dialect
    from unfrag.doctor.weigh.hypotheses import Hypothesis
    from unfrag.facts.finding import Severity
    from unfrag.facts.snapshot import Snapshot

_LIKELY = 0.6
_SETS = re.compile(r"(?:(?:^|(?<=\S) )(?:--[a-z][a-z-]+(?: [\w.{}\":' ]+)?|[A-Z_]+=\S+))+")
_SHARE_STEP = 0.05
_HIGHEST_SHARE = 0.95
_LOWEST_SHARE = 0.5
_USUAL_STEP = 2048


def suppose(
    hypothesis: Hypothesis, severity: Severity, snapshot: Snapshot, dialect: Dialect, language: str = "en"
) -> Finding:
    """The finding that JSON and text print. Its confidence is the share that the weigher gives, and is calibrated."""
    head, says = pages.head(hypothesis.cause, language), words(language).says
    told = head.hypothesis or pages.head(hypothesis.cause).hypothesis
    values = _values(snapshot)
    fixes: list[str] = []
    changes: list[FlagChange] = []
    for template in told.fixes if told else ():
        if _asked(template) <= set(values):
            text = dialect.say(template.format_map(values))
            if text is not None:
                given = text.partition("   #")[0]
                changes += flags(given, len(fixes)) if _SETS.fullmatch(given) else []
                fixes.append(text)
    if told and _asked(told.decide) <= set(values):
        decide = dialect.say(told.decide.format_map(values))
        fixes += [says["decide"].format(command=decide)] if decide else []
    return Finding(
        id=head.id,
        cause=hypothesis.cause,
        severity=severity,
        confidence=round(hypothesis.share, 2),
        certainty="likely" if hypothesis.share >= _LIKELY else "possible",
        summary=says["supposed"].format(sentence=head.sentence),
        evidence=_evidence(hypothesis, says),
        fixes=tuple(fixes),
        meaning=says["weighed"],
        harmless="",
        changes=tuple(changes),
    )


def _evidence(hypothesis: Hypothesis, says: dict[str, str]) -> tuple[str, ...]:
    """Signals by name, without what kind they are of."""
    lines = []
    for template, names in ((says["speaks_for"], hypothesis.speaks_for), (says["against"], hypothesis.against)):
        if names:
            lines.append(template.format(signals=says["between"].join(map(_plain, names))))
    return tuple(lines)


def _plain(signal: str) -> str:
    kind, _, name = signal.partition(" ")
    name = name.removeprefix("file:").removeprefix("in:").replace("_", " ") if kind == "message" else name
    return f'"{name}"' if kind == "word" else name if kind in ("about", "message", "flag", "variable") else signal


def _asked(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def _values(snapshot: Snapshot) -> dict[str, Any]:
    """What a template may ask for; what would change nothing, or nothing in the right direction, is left out."""
    share = evidence.utilization(snapshot)
    running = evidence.number(snapshot, "--max-num-seqs")
    context = evidence.number(snapshot, "--max-model-len")
    values: dict[str, Any] = {}
    if share is None or share > _LOWEST_SHARE:
        values["less"] = f"{max(_LOWEST_SHARE, (share or 0.9) - _SHARE_STEP):.2f}"
    if share is None or share < _HIGHEST_SHARE:
        values["more"] = f"{min(_HIGHEST_SHARE, (share or 0.9) + _SHARE_STEP):.2f}"
    names, half = evidence.smaller_step(snapshot)
    if names:
        values["step"] = half.get("step", _USUAL_STEP)
    if running is None or running > 1:
        values["seqs"] = max(1, int(running or 128) // 2)
    if context is None or context > 2048:
        values["context"] = int(context or 16384) // 2
    if (ranks := evidence.ranks(snapshot)) > 1:
        values["ranks"] = ranks
    return values
