"""From a snapshot to a diagnosis: add up the ledger, let the rules judge, say what is unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from unfrag.doctor import ledger, order, referee, rules
from unfrag.doctor.doubt import quoted, unexplained_failure, why_not_healthy
from unfrag.doctor.ledger import Card
from unfrag.doctor.own_words import with_own_words
from unfrag.doctor.supposing import with_hypotheses
from unfrag.doctor.weigh import dialect, evidence
from unfrag.doctor.words import pages
from unfrag.doctor.words.language import words
from unfrag.doctor.words.say import say
from unfrag.errors import NotEnoughEvidence
from unfrag.facts.finding import SEVERITIES, Finding
from unfrag.facts.snapshot import Snapshot, unknowns
from unfrag.facts.values import Unknown
from unfrag.redaction import redact

if TYPE_CHECKING:
    from unfrag.doctor.rules import Rule
    from unfrag.doctor.rules.thresholds import Thresholds

SCHEMA_VERSION = 1


class Missing(msgspec.Struct, frozen=True):
    fact: str
    why: str


class Diagnosis(msgspec.Struct, frozen=True):
    """What ``diagnose --json`` prints, and all that the text and the exit code go by.

    Attributes:
        verdict: the best finding's cause, "healthy" where there is proof, else "unknown".
        why: of an unknown verdict.
        healthy: what was looked at and found in order; nothing under an unknown verdict.
    """

    schema_version: int
    target: str
    verdict: str
    why: str
    findings: tuple[Finding, ...]
    ledger: tuple[Card, ...] | None
    healthy: tuple[str, ...]
    unknown: tuple[Missing, ...]


def diagnose(snapshot: Snapshot, thresholds: dict[str, Thresholds], language: str = "en") -> Diagnosis:
    """Judge a snapshot. Pure: the same snapshot gives the same diagnosis.

    ``language``: of the findings' words and of ``why``, for people. What a program reads stays English.
    """
    findings, healthy = judge_all(snapshot, thresholds, language)
    why = words(language).why
    cards = ledger.build(snapshot)
    missing = [Missing(fact, redact(why)) for fact, why in unknowns(snapshot)]
    if isinstance(cards, Unknown):
        missing.append(Missing("ledger", cards.why))
    doubt = why_not_healthy(snapshot, unexplained_failure(snapshot, findings), healthy)
    findings = with_hypotheses(snapshot, findings, not findings and not doubt, language)
    findings = with_own_words([referee.allowed(finding, snapshot) for finding in findings], snapshot, language)
    failure = unexplained_failure(snapshot, findings)
    if failure is not None:
        missing.append(Missing("failed_allocation", why["unexplained"].format(line=quoted(failure[:200]))))
    doubt = why_not_healthy(snapshot, failure, healthy)
    verdict = findings[0].cause if findings else "unknown" if doubt else "healthy"
    return Diagnosis(
        schema_version=SCHEMA_VERSION,
        target=redact(snapshot.target),
        verdict=verdict,
        why=why[doubt] if verdict == "unknown" else "",
        findings=tuple(_presentable(finding) for finding in findings),
        ledger=None if isinstance(cards, Unknown) else cards,
        healthy=() if doubt else tuple(healthy),
        unknown=tuple(missing),
    )


def judge_all(
    snapshot: Snapshot, thresholds: dict[str, Thresholds], language: str = "en"
) -> tuple[list[Finding], list[str]]:
    """(findings, best first; sentences of the rules that looked and found nothing)."""
    found, healthy = [], []
    for rule in rules.RULES:
        if _can_judge(rule, snapshot):
            judged = rule.judge(snapshot, thresholds[rule.CAUSE])
            if judged is not None:
                found.append((rule.CAUSE, judged))
            elif _looked(rule, snapshot):
                healthy.append(pages.head(rule.CAUSE, language))
    spelling = dialect.of(snapshot)
    explained = {(cause, by) for by, judged in found for cause in judged.explains}
    findings = [say(cause, judged, spelling, language) for cause, judged in found]
    findings.sort(key=order.rank)
    for cause, by in explained:
        order.put_after(findings, cause, by)
    return order.without_echoes(findings, explained), [
        head.healthy for head in sorted(healthy, key=lambda head: head.id)
    ]


def _can_judge(rule: Rule, snapshot: Snapshot) -> bool:
    """Has the rule anything to look at? One that does not say itself what it looks at reads text."""
    own = getattr(rule, "can_judge", evidence.has_text)
    return bool(own(snapshot))


def _looked(rule: Rule, snapshot: Snapshot) -> bool:
    """Was there enough to call it healthy? For a rule that reads text, the log of a server that came to serve."""
    own = getattr(rule, "looked", None)
    if own is None:
        return hasattr(rule, "can_judge") or evidence.serves(snapshot)
    return bool(own(snapshot))


def exit_code(found: Diagnosis, fail_on: str) -> int:
    """3 without a verdict, 1 with a finding at or above ``fail_on`` (a severity, or "never"), else 0."""
    if found.verdict == "unknown":
        return NotEnoughEvidence.exit_code
    bad = SEVERITIES[SEVERITIES.index(fail_on) :] if fail_on != "never" else ()
    return 1 if any(finding.severity in bad for finding in found.findings) else 0


def _presentable(finding: Finding) -> Finding:
    """Quotes of logs and launch lines without secrets."""
    return msgspec.structs.replace(
        finding, summary=quoted(finding.summary), evidence=tuple(quoted(line) for line in finding.evidence)
    )


def schema() -> dict[str, Any]:
    """JSON Schema of what ``diagnose --json`` prints; published as ``docs/diagnosis.schema.json``."""
    described = msgspec.json.schema(Diagnosis)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "unfrag diagnose --json", **described}
