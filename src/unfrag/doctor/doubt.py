"""Why a server is not called healthy although no rule has found anything."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unfrag.doctor.weigh import evidence
from unfrag.facts.values import Unknown
from unfrag.redaction import redact

if TYPE_CHECKING:
    from unfrag.facts.finding import Finding
    from unfrag.facts.snapshot import Snapshot

_EXCEPTION = re.compile(r"\b[A-Z]\w{2,60}(?:Error|Exception):(?= )")


def why_not_healthy(snapshot: Snapshot, failure: str | None, healthy: list[str]) -> str:
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


def unexplained_failure(snapshot: Snapshot, findings: list[Finding]) -> str | None:
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


def quoted(text: str) -> str:
    """Of an exception's own words only those that are known: they may be a value, and so what a user wrote."""
    text = redact(text)
    found = _EXCEPTION.search(text)
    if found is None:
        return text
    from unfrag.doctor.allowed.line import allow  # with long lists

    return text[: found.end()] + allow(text[found.end() :]).text
