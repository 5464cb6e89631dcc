"""A flag or a value that this version does not know."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding, Severity
from unfrag.facts.memory_stats import Pool
from unfrag.flags.check import check, listed, names_vllm

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF020"
CAUSE = "unsupported_flag"
HEALTHY = "No flag was refused, and none is known to be wrong."


def can_judge(snapshot: Snapshot) -> bool:
    return evidence.has_text(snapshot) or bool(evidence.command(snapshot))


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    event = evidence.said(snapshot, "unknown_argument", "invalid_argument", "unexpected_keyword", "flag_rejected")
    wrong = check(snapshot.launch, snapshot.engine, snapshot.engine_version)
    if event is not None:
        words = [event.words[key] for key in ("flags", "flag", "flag2", "flag3", "choice") if key in event.words]
        what = (words[0] if words else event.text).strip()
        hints = [f"{flag}: {why}" for flag, why in wrong]
        confidence = 0.72 if event.kind == "unexpected_keyword" else 0.93
        return _finding(f"The program does not know {what[:120]}.", (event.text, *hints), confidence, "critical")
    config = evidence.said(snapshot, "config_rejected")
    if config is not None:
        return _finding(f"A value was refused: {config.text[:160]}", (config.text,), 0.7, "critical")
    if wrong:
        flag, why = wrong[0]
        runs = isinstance(snapshot.pool, Pool) or evidence.serves(snapshot)
        lines = tuple(f"{f}: {w}" for f, w in wrong)
        return _finding(f"{flag}: {why}.", lines, 0.6, "warning" if runs else "critical")
    return None


def _finding(seen: str, lines: tuple[str, ...], confidence: float, severity: Severity) -> Finding:
    found = re.search(r"--[A-Za-z][\w-]*", " ".join((seen, *lines)))
    flag = found[0] if found else "--the-flag"
    return Finding(
        id=ID,
        cause=CAUSE,
        severity=severity,
        confidence=confidence,
        summary=seen,
        evidence=lines,
        fixes=(
            f"vllm serve --help=all | grep -e {flag}   # is it there, and which values does it take; then take it out or upgrade",
            "unfrag serve …   # for the plugin's own flags and the spellings that guides teach",
        ),
        meaning="The server ends before it touches a card: memory has nothing to do with it.",
        harmless="Never: the server does not start.",
    )


def looked(snapshot: Snapshot) -> bool:
    """The launch line is known and there is a list to hold it against; or the server took its flags and serves."""
    checked = names_vllm(snapshot.launch) and listed(snapshot.engine_version) is not None
    return checked or evidence.serves(snapshot)
