"""The second tier: where no rule is sure, what many weak signs point to. Exact forms keep the last word.

Any sign of trouble gives hypotheses, at most three with what the rules say; a server that is proven healthy gives none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from unfrag.doctor.rules import not_memory
from unfrag.doctor.weigh import dialect, evidence, hypotheses, oom, signals
from unfrag.doctor.words import pages
from unfrag.doctor.words.suppose import suppose
from unfrag.facts.memory_stats import Pool

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unfrag.doctor.weigh.hypotheses import Hypothesis
    from unfrag.facts.finding import Certainty, Finding, Severity
    from unfrag.facts.snapshot import Snapshot

_LAST_WORD: tuple[Certainty, ...] = ("proven", "strong")
_AT_MOST = 3
_LEAST = 0.1
_MANY_WORDS = 6
_SAYS_CRITICAL = 0.5
_FAILED = ("engine_dead", "worker_died", "oom_killed", "exit_137", "sigkill", "other_error")
# What a rule's word adds to the log-odds of its cause.
_WORD: dict[Certainty, float] = {"proven": 6.0, "strong": 4.5, "likely": 3.5, "possible": 1.0}
_HEALTHY_AT_LEAST = 0.5
_OVERRULED_BELOW = 0.35
_TROUBLE = frozenset(
    {f"word {word}" for word in ("error", "exception", "traceback", "failed", "failure", "fatal", "crashed")}
    | {
        f"about {concept}"
        for concept in (
            "hangs",
            "leaks",
            "grows",
            "killed",
            "disk full",
            "missing name",
            "unknown flag",
            "not supported",
            "unknown model",
            "shapes differ",
            "preempted",
            "card broken",
            "program error",
            "too little free at start",
            "engine dead",
            "timed out",
            "out of memory",
            "slow",
            "others on the card",
            "uneven",
        )
    }
)


def with_hypotheses(
    snapshot: Snapshot, findings: list[Finding], is_healthy: bool, language: str = "en"
) -> list[Finding]:
    """The rules' findings, best first, and what else may be the cause.

    Args:
        is_healthy: no rule found anything, and they saw enough to call the server healthy.
    """
    if (findings and findings[0].certainty in _LAST_WORD) or not evidence.has_text(snapshot):
        return findings
    seen = signals.of(snapshot)
    if not _says_something(seen):
        return findings
    weighed = hypotheses.weigh(seen)
    if not findings and not _is_in_trouble(seen, weighed, is_healthy):
        return findings
    found = {finding.cause: finding for finding in findings}
    ranked = _ranked([each for each in weighed if each.cause != hypotheses.HEALTHY], findings)
    spelling = dialect.of(snapshot)
    said: list[Finding] = []
    for each in ranked:
        if each.cause in found:
            said.append(found.pop(each.cause))
        elif len(said) + len(found) < _AT_MOST and (each.share >= _LEAST or not said):
            said.append(suppose(each, _severity(each, snapshot), snapshot, spelling, language))
    return said


def _says_something(seen: frozenset[str]) -> bool:
    """A few words are no sign: a message, a number, a flag or what the text is about is, and so are many words."""
    kinds = [signal.partition(" ")[0] for signal in seen]
    return kinds.count("word") >= _MANY_WORDS or any(kind not in ("word", "engine", "log") for kind in kinds)


def _is_in_trouble(seen: frozenset[str], weighed: Iterable[Hypothesis], is_healthy: bool) -> bool:
    share = next((each.share for each in weighed if each.cause == hypotheses.HEALTHY), 0.0)
    if is_healthy:
        return share < _OVERRULED_BELOW and bool(seen & _TROUBLE)
    return share < _HEALTHY_AT_LEAST


def _ranked(weighed: list[Hypothesis], findings: list[Finding]) -> list[Hypothesis]:
    """Likeliest first, what a rule says added. "Something else" gives way to what a rule holds likely."""
    if findings and findings[0].certainty == "likely" and findings[0].severity != "info":
        weighed = [each for each in weighed if each.cause != not_memory.CAUSE or each.cause == findings[0].cause]
    word = {finding.cause: _WORD[finding.certainty] for finding in reversed(findings) if finding.severity != "info"}
    return sorted(weighed, key=lambda each: math.log(max(each.share, 1e-6)) + word.get(each.cause, 0.0), reverse=True)


def _severity(hypothesis: Hypothesis, snapshot: Snapshot) -> Severity:
    """That of the cause; a warning where the server serves, or where the guess is weak and nothing has failed."""
    if evidence.serves(snapshot) or isinstance(snapshot.pool, Pool):
        return "warning"
    failed = oom.of(snapshot) or oom.bare(snapshot) or evidence.said(snapshot, *_FAILED)
    return "warning" if hypothesis.share < _SAYS_CRITICAL and not failed else pages.head(hypothesis.cause).severity
