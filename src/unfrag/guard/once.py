"""What a single poll saw and what follows from it, in a line for people (``--once``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unfrag.guard.words import other_guard

if TYPE_CHECKING:
    from unfrag.guard.service import WatchedServer
    from unfrag.guard.state import Answer, Decision, Poll

_ANSWERS: dict[Answer, str] = {
    "ok": "{}/health answers 200",
    "dead": "{}/health answers 503: its engine is dead",
    "silent": "{}/health does not answer 200 in time",
    "refused": "nobody listens on {}",
}


def line(one: WatchedServer, dry_run: bool) -> str:
    """After its turn."""
    label = one.target.label
    if one.fault:
        return f"{label}: the poll failed: {one.fault}"
    if one.last is None or one.decided is None:
        return f"{label}: {other_guard(one.holder())} watches it, so nothing was looked at"
    seen = [_ANSWERS[one.last.answers].format(one.target.address)]
    if one.last.launcher is not None:
        seen.append(f"its launcher says {one.last.launcher}")
    is_first = one.remembered.state.started_at == one.last.at
    return f"{label}: {'; '.join(seen)}; {_follows(one.decided, one.last, is_first, dry_run)}"


def _follows(decided: Decision, seen: Poll, is_first: bool, dry_run: bool) -> str:
    waits = decided.rule == "watching" or (decided.rule == "starting" and is_first)
    if waits and seen.answers != "ok":
        return "one poll is not enough to act"
    if decided.action == "none":
        return f"{decided.rule}: {decided.why}" if decided.why else decided.rule
    would = "would " if dry_run else ""
    return f"{would}{decided.action} ({decided.rule}): {decided.why}"
