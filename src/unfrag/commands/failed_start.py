"""Why a server did not come up: the doctor's words on what it wrote since it was started, instead of its log's end."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from unfrag.commands.fixes import command
from unfrag.doctor import collect, diagnosis
from unfrag.doctor.rules.thresholds import load_thresholds
from unfrag.errors import RollbackFailed, RolledBack, UnfragError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unfrag.apply.program import Program
    from unfrag.launchers import Launcher
    from unfrag.launchers.place import Place

_LINES = 5000
_LAST_LINES = re.compile(r"; the last lines of its log:(?:\n  [^\n]*)+")


@contextlib.contextmanager
def explained(program: Program, thresholds: Path | None = None, place: Place | None = None) -> Iterator[Program]:
    """The program for one change; where that fails, the error says what the doctor finds.

    Args:
        place: to print fixes as commands for it; None where the file will be another one again.
    """
    launcher = _Remembering(program.launcher)
    try:
        yield dataclasses.replace(program, launcher=cast("Launcher", launcher))
    except (RolledBack, RollbackFailed) as fault:
        found = _finding(launcher.first_start(), thresholds, place)
        if found is None:
            raise
        said = str(fault)
        if _LAST_LINES.search(said):
            said = _LAST_LINES.sub(lambda _: f"\n{found}", said, count=1)
        else:
            said = f"{said}\n{found}"
        raise type(fault)(said) from fault


class _Remembering:
    """A launcher that keeps what the first server that it started wrote, before it starts another one."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._restarts = 0
        self._lines: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._launcher, name)

    def restart(self) -> None:
        if self._restarts == 1:
            self._lines = self._tail()
        self._restarts += 1
        self._launcher.restart()

    def first_start(self) -> list[str]:
        return self._lines if self._restarts > 1 else self._tail() if self._restarts else []

    def _tail(self) -> list[str]:
        with contextlib.suppress(UnfragError):
            return self._launcher.tail(_LINES)
        return []


def _finding(lines: list[str], thresholds: Path | None, place: Place | None) -> str | None:
    """The gravest finding of these lines, and its first fix; None: the doctor finds nothing."""
    if not lines:
        return None
    with tempfile.TemporaryDirectory(prefix="unfrag-log-") as folder:
        (Path(folder) / "log.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        snapshot = collect.evidence(Path(folder))
    findings = diagnosis.diagnose(snapshot, load_thresholds(thresholds)).findings
    if not findings or findings[0].severity == "info":
        return None
    best = findings[0]
    fix = best.fixes[0] if best.fixes else ""
    if place is not None:
        fix = command(fix, place)
    return f"why: {best.id} {best.cause}: {best.summary}" + (f"\ndo:  {fix}" if fix else "")
