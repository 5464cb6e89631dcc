"""From a snapshot to a diagnosis: add up the ledger, let the rules judge, say what is unknown."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from unfrag.doctor import ledger, rules
from unfrag.doctor.ledger import Card
from unfrag.doctor.weigh import evidence
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
    """What ``diagnose --json`` prints. ``verdict``: the best finding's cause, "healthy", or "unknown"."""

    schema_version: int
    target: str
    verdict: str
    findings: tuple[Finding, ...]
    ledger: tuple[Card, ...] | None
    healthy: tuple[str, ...]
    unknown: tuple[Missing, ...]


def diagnose(snapshot: Snapshot, thresholds: dict[str, rules.Thresholds]) -> Diagnosis:
    """Judge a snapshot. Pure: the same snapshot gives the same diagnosis."""
    findings, healthy = rules.judge_all(snapshot, thresholds)
    cards = ledger.build(snapshot)
    missing = [Missing(fact, redact(why)) for fact, why in unknowns(snapshot)]
    if isinstance(cards, Unknown):
        missing.append(Missing("ledger", cards.why))
    failure = _unexplained_failure(snapshot, findings)
    if failure is not None:
        missing.append(Missing("failed_allocation", f"no rule explains it: {_quoted(failure[:200])}"))
        healthy = []  # what failed may be any of them
    if snapshot.silent:
        healthy = []  # of a server that cannot be asked nothing good is known
    looked = failure is None and (findings or (healthy and _substance(snapshot)))
    return Diagnosis(
        schema_version=SCHEMA_VERSION,
        target=redact(snapshot.target),
        verdict=findings[0].cause if findings else "healthy" if looked else "unknown",
        findings=tuple(_presentable(finding) for finding in findings),
        ledger=None if isinstance(cards, Unknown) else cards,
        healthy=tuple(healthy),
        unknown=tuple(missing),
    )


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
    from unfrag.redaction.allowed.line import allow  # with long lists

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
