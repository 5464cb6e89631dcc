"""A change that a killed unfrag left half way is ended by what is there now.

A healthy server is never restarted for it, and what somebody has written into the file since is never written over.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from unfrag.apply.change import is_now, needs_a_human, take_back
from unfrag.apply.history import History, Kept, digest
from unfrag.apply.lock import is_held, only_one
from unfrag.apply.verify import not_in_effect
from unfrag.errors import RollbackFailed, UnfragError
from unfrag.flags.line import read_flags
from unfrag.launchers import Edit
from unfrag.system.files import put_back

if TYPE_CHECKING:
    from unfrag.apply.program import Program
    from unfrag.launchers import Launcher, LaunchSpec

_STATES = ("pending", "going back")

End = Literal["untouched", "keep", "put back", "take back", "edited", "not gone", "gone", "start", "return"]


class _Way(NamedTuple):
    """One end: what it would do, what it did, and the change's state on record then."""

    would: str
    did: str
    state: str


_WAYS: dict[End, _Way] = {
    "untouched": _Way("{path} is as it was before it", "{cut}; {path} is as it was before it", "not made"),
    "keep": _Way(
        "the server runs with its flags, and would be left so",
        "{cut} when the server had its flags: it is left so, but nothing was verified",
        "applied",
    ),
    "put back": _Way(
        "the file from before it would be put back, and the server not touched",
        "{cut} before the restart: {path} is as it was before it, and the server was not touched",
        "not made",
    ),
    "take back": _Way(
        "the file from before it would be put back, and the old server started",
        "{cut}; it was taken back",
        "rolled back",
    ),
    "edited": _Way(
        "{path} was edited since, and would be left as it is",
        "{cut}, and {path} was edited since: that is left as it is",
        "edited since",
    ),
    "not gone": _Way("it had changed nothing", "{cut} before it changed anything", "applied"),
    "gone": _Way(
        "{path} is as it was before that change", "{cut}; {path} is as it was before that change", "rolled back"
    ),
    "start": _Way(
        "{path} is as it was before that change, and the server would be started",
        "{cut}; {path} is as it was before that change",
        "rolled back",
    ),
    "return": _Way(
        "the server still runs with what was to be taken back, so its file would be put back, and it not touched",
        "{cut} before the restart: {path} is as it was before the rollback, and the server was not touched",
        "applied",
    ),
}
_FILE_CHANGES = ("put back", "take back", "return")


@dataclass(frozen=True)
class Left:
    """What a killed unfrag left half way, and how it ends. ``newest``: the change whose flags the file had had."""

    kept: Kept
    newest: Kept
    end: End

    @property
    def cut(self) -> str:
        what = "" if self.kept.state == "pending" else "the rollback of "
        return f"{what}{self.kept.id} was cut short"

    @property
    def would(self) -> str:
        """What ending it would do, for a human to read."""
        return f"{self.cut}: {_WAYS[self.end].would.format(path=self.kept.path)}"

    @property
    def did(self) -> str:
        """The same of what was done."""
        return _WAYS[self.end].did.format(cut=self.cut, path=self.kept.path)

    def file(self, history: History) -> bytes | None:
        """What ending it would write into the file; None: nothing."""
        if self.end not in _FILE_CHANGES:
            return None
        return history.after(self.newest) if self.end == "return" else history.before(self.kept)


@dataclass(frozen=True)
class Ended:
    """``kept``: as it is on record now. ``line``: what was found and done, for a human to read."""

    kept: Kept
    line: str


def unfinished(spec: LaunchSpec, history: History) -> Kept | None:
    """The change of this program that a killed unfrag left half way, if there is one."""
    found = [kept for kept in history.of(spec.path, spec.program) if kept.state in _STATES]
    return found[-1] if found else None


class UnderWay(NamedTuple):
    """A change that is not ended. ``cut_short``: nobody is at it any more."""

    kept: Kept
    cut_short: bool


def under_way(launcher: Launcher) -> UnderWay | None:
    """For who only watches. Raises UsageError: the server's file cannot be read."""
    spec, history = launcher.read(), History()
    kept = unfinished(spec, history)
    if kept is None:
        return None
    if is_held(spec.path.resolve().parent):
        return UnderWay(kept, cut_short=False)
    kept = unfinished(spec, history)  # it may just have come to its end
    return UnderWay(kept, cut_short=True) if kept is not None else None


def left(program: Program) -> Left | None:
    """What was left half way, judged by what is there now; None when there is nothing. Nothing is changed.

    Raises:
        NotEnoughEvidence: the launcher does not answer.
    """
    spec = program.launcher.read()
    kept = unfinished(spec, program.history)
    if kept is None:
        return None
    if kept.state == "pending":
        return Left(kept, kept, _pending(program, spec, kept))
    applied = [
        one for one in program.history.of(spec.path, spec.program) if one.state == "applied" or one.id == kept.id
    ]
    return Left(kept, applied[-1], _going_back(program, spec, kept, applied[-1]))


def finish(program: Program) -> Ended | None:
    """End what a killed unfrag left half way; None when there was nothing.

    The file is taken back to the one from before where it still is what the change wrote, and no healthy server runs
    with that. The server is restarted only if it is not healthy then.

    Raises:
        UsageError: another unfrag is at it: nothing was changed.
        NotEnoughEvidence: the launcher does not answer: nothing was changed.
        RollbackFailed: the old file is back, but the old server did not come up.
    """
    with only_one(program.launcher.read().path):
        found = left(program)
        return _finished(program, found) if found is not None else None


def _pending(program: Program, spec: LaunchSpec, kept: Kept) -> End:
    now = digest(spec.content)
    if now == kept.before_sha256:
        return "untouched"
    if now != kept.after_sha256:
        return "edited"
    if not program.is_healthy():
        return "take back"
    return "keep" if program.runs_with(Edit(kept.flags, kept.removed)) else "put back"


def _going_back(program: Program, spec: LaunchSpec, kept: Kept, newest: Kept) -> End:
    now = digest(spec.content)
    if now == newest.after_sha256:
        return "not gone"
    if now != kept.before_sha256:
        return "edited"
    if not program.is_healthy():
        return "start" if program.launcher.status().state == "UNLOADED" else "gone"
    withdrawn = Edit(newest.flags, newest.removed)
    asked = bool(newest.flags or newest.removed) and bool(not_in_effect(read_flags(spec.command), withdrawn))
    return "return" if asked and program.runs_with(withdrawn) else "gone"


def _finished(program: Program, found: Left) -> Ended:
    if found.end == "take back":
        kept = take_back(program, found.kept, found.cut)
        return Ended(kept, f"{found.did}, and {is_now(kept)}")
    if found.end in ("gone", "start"):
        return _gone(program, found)
    content = found.file(program.history)
    if content is not None:
        put_back(Path(found.kept.path), content)
    kept = program.history.mark(found.kept, _WAYS[found.end].state)
    return Ended(kept, found.did + (_otherwise(program) if found.end == "untouched" else ""))


def _gone(program: Program, found: Left) -> Ended:
    """The file of the rollback stands there."""
    kept = program.history.mark_taken_back(found.kept)
    if found.end == "start":
        try:
            program.rescue()
        except UnfragError as fault:
            raise RollbackFailed(
                f"{found.did}, but its server did not come up: {fault}{needs_a_human(kept, program.history)}"
            ) from fault
        return Ended(kept, f"{found.did}, and the server was started with it")
    return Ended(kept, f"{found.did}{_otherwise(program)}")


def _otherwise(program: Program) -> str:
    """What is to be added where a server runs that was started with something else."""
    other = program.runs_otherwise()
    return f"; but the server was started otherwise: {'; '.join(other)}" if other else ""
