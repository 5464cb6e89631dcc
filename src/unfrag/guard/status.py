"""What each guard of this user last saw of its server, and whether one is at work."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from unfrag.apply.lock import is_held
from unfrag.errors import UsageError
from unfrag.guard.memory import Remembered
from unfrag.reports import out, print_json
from unfrag.system.files import read_file

if TYPE_CHECKING:
    from pathlib import Path

    from unfrag.guard.targets import Target


class Row(msgspec.Struct, kw_only=True):
    """One server. ``seconds_ago``: since the last poll; None: there was none since the machine started."""

    target: str
    at_work: bool = False
    seconds_ago: float | None = None
    rule: str = ""
    why: str = ""
    restarts_last_hour: int = 0
    restarts_in_vain: int = 0
    acting: str | None = None
    paged: tuple[str, ...] = ()


def status(folder: Path, asked: list[Target], as_json: bool) -> int:
    """Print it. 0: every target is guarded, and no human is needed.

    Args:
        asked: these alone; none: all that a guard of this user has ever watched.
    """
    every = _remembered(folder)
    rows = [row for one in asked for row in _of(one, every)] if asked else [row for _, row in every]
    if as_json:
        print_json({"schema_version": 1, "targets": rows})
    elif not rows:
        out().print("no guard has run here yet: unfrag guard --config FILE --dry-run --once", markup=False)
    for row in () if as_json else rows:
        out().print(_line(row, folder), markup=False)
    return 0 if rows and all(row.at_work and not row.paged for row in rows) else 1


def _remembered(folder: Path) -> list[tuple[Remembered, Row]]:
    found = []
    for file in sorted(folder.glob("*.json")):
        try:
            one = msgspec.json.decode(read_file(file), type=Remembered)
        except (UsageError, msgspec.MsgspecError, RecursionError):
            continue
        label = one.label or file.stem.rpartition("-")[0]
        found.append((one, _row(one, label, is_held(file.with_suffix(".lock")))))
    return found


def _of(asked: Target, every: list[tuple[Remembered, Row]]) -> list[Row]:
    """Of one server: those of guards at work, or else what others left, or else a row that says nothing was found."""
    mine = [row for one, row in every if _is_of(asked, one)]
    return [row for row in mine if row.at_work] or mine or [Row(target=asked.origin or asked.label)]


def _is_of(asked: Target, one: Remembered) -> bool:
    return one.origin == asked.origin if asked.origin else one.address == asked.address


def _row(one: Remembered, label: str, at_work: bool) -> Row:
    now, state = time.monotonic(), one.state
    recent = [each for each in state.restarts if now - each.at < 3600]
    return Row(
        target=label,
        at_work=at_work,
        seconds_ago=None if state.last_poll is None or state.last_poll > now else round(now - state.last_poll, 1),
        rule=one.rule,
        why=one.why,
        restarts_last_hour=len(recent),
        restarts_in_vain=sum(not each.helped for each in recent),
        acting=one.acting,
        paged=state.paged,
    )


def _line(row: Row, folder: Path) -> str:
    if row.seconds_ago is None and not row.at_work:
        return f"{row.target}: no guard watches it (looked in {folder})"
    seen = ": ".join(filter(None, (row.target, row.rule or "nothing seen yet", row.why)))
    when = "" if row.seconds_ago is None else f"seen {row.seconds_ago:.0f} s ago, "
    guard = "guarded" if row.at_work else "NOT guarded: no guard is at work"
    page = f"; A HUMAN IS NEEDED: {', '.join(row.paged)}" if row.paged else ""
    return f"{seen}; {when}{_restarts(row)}; {guard}{page}"


def _restarts(row: Row) -> str:
    count = row.restarts_last_hour
    if not count:
        return "no restart in the last hour"
    helped = f"{row.restarts_in_vain} of them in vain" if row.restarts_in_vain else "which helped"
    return f"{count} {'restart' if count == 1 else 'restarts'} in the last hour, {helped}"
