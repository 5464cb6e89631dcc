"""From a snapshot to a diagnosis: add up the ledger, let the rules judge, say what is unknown."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from unfrag.doctor import ledger, rules
from unfrag.doctor.ledger import Card
from unfrag.doctor.weigh import evidence
from unfrag.doctor.words.language import words
from unfrag.errors import NotEnoughEvidence
from unfrag.facts.finding import Finding
from unfrag.facts.snapshot import Snapshot, unknowns
from unfrag.facts.values import Unknown
from unfrag.redaction import redact

SCHEMA_VERSION = 1
_EXCEPTION = re.compile(r"\b[A-Z]\w{2,60}(?:Error|Exception):(?= )")


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


def diagnose(snapshot: Snapshot, thresholds: dict[str, rules.Thresholds], language: str = "en") -> Diagnosis:
    """Judge a snapshot. Pure: the same snapshot gives the same diagnosis.

    ``language``: of the findings' words and of ``why``, for people. What a program reads stays English.
    """
    findings, healthy = rules.judge_all(snapshot, thresholds, language)
    why = words(language).why
    cards = ledger.build(snapshot)
    missing = [Missing(fact, redact(why)) for fact, why in unknowns(snapshot)]
    if isinstance(cards, Unknown):
        missing.append(Missing("ledger", cards.why))
    failure = _unexplained_failure(snapshot, findings)
    if failure is not None:
        missing.append(Missing("failed_allocation", why["unexplained"].format(line=_quoted(failure[:200]))))
    doubt = _doubt(snapshot, failure, healthy)
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


def exit_code(found: Diagnosis, fail_on: str) -> int:
    """3 without a verdict, 1 with a finding at or above ``fail_on`` (a severity, or "never"), else 0."""
    if found.verdict == "unknown":
        return NotEnoughEvidence.exit_code
    bad = rules.SEVERITIES[rules.SEVERITIES.index(fail_on) :] if fail_on != "never" else ()
    return 1 if any(finding.severity in bad for finding in found.findings) else 0


def _doubt(snapshot: Snapshot, failure: str | None, healthy: list[str]) -> str:
    """The name of the reason why nobody can call it healthy, also where no rule has found anything; else empty."""
    if not has_evidence(snapshot):
        return "nothing"
    if failure is not None:
        return "failure"
    if snapshot.silent:
        return "silent"
    if not healthy or not _substance(snapshot):
        return "unsaid"
    return ""


def _substance(snapshot: Snapshot) -> bool:
    """Is there anything to call a server healthy by: its numbers, its log once it served, or the cards?"""
    cards = not isinstance(snapshot.gpus, Unknown) and bool(snapshot.gpus.gpus or snapshot.gpus.processes)
    numbers = not isinstance(snapshot.pool, Unknown) or not isinstance(snapshot.metrics, Unknown)
    return cards or numbers or evidence.serves(snapshot) or bool(snapshot.series)


def _presentable(finding: Finding) -> Finding:
    """Quotes of logs and launch lines without secrets."""
    return msgspec.structs.replace(
        finding, summary=_quoted(finding.summary), evidence=tuple(_quoted(line) for line in finding.evidence)
    )


def _quoted(text: str) -> str:
    """Of an exception's own words only those that are known: they may be a value, and so what a user wrote."""
    text = redact(text)
    found = _EXCEPTION.search(text)
    if found is None:
        return text
    from unfrag.doctor.allowed.line import allow  # with long lists

    return text[: found.end()] + allow(text[found.end() :]).text


def _unexplained_failure(snapshot: Snapshot, findings: list[Finding]) -> str | None:
    """A failed allocation in the log when no finding is about anything severe: an OOM is never healthy."""
    if any(finding.severity == "critical" for finding in findings):
        return None
    for log in evidence.logs(snapshot):
        for oom in reversed(log.ooms):
            if evidence.still_counts(log, oom.life, oom.ready):
                return oom.text
    bare = evidence.said(snapshot, "bare_oom")
    return bare.text if bare is not None else None


def has_evidence(snapshot: Snapshot) -> bool:
    """Is there anything to judge at all?"""
    facts = (snapshot.pool, snapshot.metrics, snapshot.gpus, snapshot.launch, snapshot.allocator)
    return any(not isinstance(f, Unknown) for f in facts) or evidence.has_text(snapshot) or bool(snapshot.series)


def schema() -> dict[str, Any]:
    """JSON Schema of what ``diagnose --json`` prints; published as ``docs/diagnosis.schema.json``."""
    described = msgspec.json.schema(Diagnosis)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "unfrag diagnose --json", **described}
