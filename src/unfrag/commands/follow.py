"""`unfrag diagnose --follow`: a line when a finding appears, grows graver or goes; until Ctrl-C."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from unfrag.doctor import collect, diagnosis
from unfrag.doctor.probes import launch
from unfrag.doctor.probes.log.follow import Following
from unfrag.facts.finding import SEVERITIES, Finding
from unfrag.facts.values import Unknown
from unfrag.reports import out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from unfrag.doctor.collect import Asked
    from unfrag.doctor.diagnosis import Diagnosis
    from unfrag.doctor.rules.thresholds import Thresholds
    from unfrag.facts.snapshot import Snapshot

_POLL_SECONDS = 0.5
_ASK_SECONDS = 10.0  # between two looks at the server itself


class Change(msgspec.Struct, frozen=True):
    """``what``: appears, is graver, is milder, or is gone."""

    at: str
    what: str
    finding: Finding

    @property
    def line(self) -> str:
        found = self.finding
        return f"{self.at} {self.what}: {found.severity} {found.id} {found.cause}: {found.summary}"


def follow(
    asked: Asked,
    path: Path,
    thresholds: dict[str, Thresholds],
    fail_on: str,
    as_json: bool,
    edit: Callable[[Diagnosis], Diagnosis],
) -> int:
    """Until Ctrl-C, or until stdin ends; the exit code of the last verdict. ``edit`` is applied to each diagnosis."""
    console, last = out(), None
    try:
        for found in _diagnoses(asked, path, thresholds):
            for change in changes(last, found := edit(found)):
                if as_json:
                    console.print(msgspec.json.encode(change).decode(), markup=False, soft_wrap=True)
                else:
                    console.print(change.line, markup=False)
            if last is None and not as_json:
                console.print(f"{_now()} follows {asked.otherwise or asked.url}: {found.verdict}", markup=False)
            last = found
    except KeyboardInterrupt:
        pass
    return 3 if last is None else diagnosis.exit_code(last, fail_on)


def changes(before: Diagnosis | None, now: Diagnosis) -> list[Change]:
    """What is otherwise than before, the gravest first."""
    was = {found.cause: found for found in before.findings} if before is not None else {}
    rank = SEVERITIES.index
    told = []
    for found in now.findings:
        old = was.pop(found.cause, None)
        if old is None:
            told.append(("appears", found))
        elif old.severity != found.severity:
            told.append(("is graver" if rank(found.severity) > rank(old.severity) else "is milder", found))
    told += [("is gone", found) for found in was.values()]
    return [Change(_now(), what, found) for what, found in told]


def _diagnoses(asked: Asked, path: Path, thresholds: dict[str, Thresholds]) -> Iterator[Diagnosis]:
    """One whenever the log has grown, and every ten seconds."""
    following, snapshot, asked_at = Following(path), None, 0.0
    while True:
        grown, is_over = following.grow(), following.is_over
        if snapshot is None or time.monotonic() - asked_at > _ASK_SECONDS:
            snapshot, asked_at = collect.live(asked), time.monotonic()
            grown = True
        if grown:
            yield diagnosis.diagnose(_with_log(snapshot, following), thresholds)
        if is_over:
            return
        time.sleep(_POLL_SECONDS)


def _with_log(snapshot: Snapshot, following: Following) -> Snapshot:
    log = following.log()
    line = snapshot.launch
    return msgspec.structs.replace(snapshot, log=log, launch=launch.of_log(log) if isinstance(line, Unknown) else line)


def _now() -> str:
    return time.strftime("%H:%M:%S")
