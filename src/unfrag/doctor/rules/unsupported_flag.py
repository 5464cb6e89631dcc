"""A flag or a value that this version does not know."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.doctor.weigh.judged import judged
from unfrag.facts.memory_stats import Pool
from unfrag.flags.check import check, listed, names_vllm

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.finding import Certainty, Severity
    from unfrag.facts.snapshot import Snapshot

CAUSE = "unsupported_flag"


def can_judge(snapshot: Snapshot) -> bool:
    return evidence.has_text(snapshot) or bool(evidence.command(snapshot))


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    event = evidence.said(snapshot, "unknown_argument", "invalid_argument", "unexpected_keyword", "flag_rejected")
    wrong = check(snapshot.launch, snapshot.engine, snapshot.engine_version)
    if event is not None:
        words = [event.words[key] for key in ("flags", "flag", "flag2", "flag3", "choice") if key in event.words]
        what = (words[0] if words else event.text).strip()
        hints = [f"{flag}: {why}" for flag, why in wrong]
        certainty: Certainty = "likely" if event.kind == "unexpected_keyword" else "proven"
        lines = (event.text, *hints)
        return _judged("unknown", lines, certainty, refused=event.kind == "unknown_argument", what=what[:120])
    config = evidence.said(snapshot, "config_rejected")
    if config is not None:
        return _judged("value", (config.text,), "likely", message=config.text[:160])
    if wrong:
        flag, why = wrong[0]
        runs = isinstance(snapshot.pool, Pool) or evidence.serves(snapshot)
        lines = tuple(f"{f}: {w}" for f, w in wrong)
        return _judged("listed", lines, "likely", severity="warning" if runs else None, flag=flag, why=why)
    return None


def _judged(
    seen: str,
    lines: tuple[str, ...],
    certainty: Certainty,
    severity: Severity | None = None,
    *,
    refused: bool = False,
    **values: Any,
) -> Judged:
    """With the flag in question; one that the program ``refused`` by its name is to go."""
    found = re.search(r"--[A-Za-z][\w-]*", " ".join((*(str(value) for value in values.values()), *lines)))
    if found is None:
        return judged(seen, lines, certainty, severity=severity, fixes=("list", "serve"), **values)
    fixes = ("refused" if refused else "help", "serve")
    return judged(seen, lines, certainty, severity=severity, fixes=fixes, **{**values, "flag": found[0]})


def looked(snapshot: Snapshot) -> bool:
    """The launch line is known and there is a list to hold it against; or the server took its flags and serves."""
    checked = names_vllm(snapshot.launch) and listed(snapshot.engine_version) is not None
    return checked or evidence.serves(snapshot)
