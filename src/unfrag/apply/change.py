"""One change to a running server: back up, write, restart, verify, and take back what does not hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from unfrag.apply.diff import diff
from unfrag.apply.history import History, Kept, digest
from unfrag.apply.lock import only_one
from unfrag.apply.program import DOWN_ON_PURPOSE
from unfrag.apply.verify import problems
from unfrag.errors import NotEnoughEvidence, RollbackFailed, RolledBack, UnfragError, UsageError
from unfrag.flags.line import must_be_startable
from unfrag.launchers import Edit
from unfrag.system.files import put_back, read_file, write_atomically
from unfrag.system.session import undisturbed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unfrag.apply.program import Program
    from unfrag.launchers import Launcher, LaunchSpec

    Check = Callable[[str], list[str]]  # with the server's URL


@dataclass(frozen=True)
class Change:
    """What is to be done to one configuration file."""

    spec: LaunchSpec
    content: bytes
    edit: Edit = field(default_factory=Edit)

    @property
    def command(self) -> str:
        """The server's command with the edit made."""
        return self.edit.of(self.spec.command)

    @property
    def changes_nothing(self) -> bool:
        return self.content == self.spec.content

    def diff(self) -> str:
        """Unified diff of the file, without keys."""
        return diff(self.spec.content, self.content, str(self.spec.path))


def plan(launcher: Launcher, edit: Edit) -> Change:
    """Read the file and compute its new content; nothing is written. Raises UsageError."""
    spec = launcher.read()
    must_be_startable(spec.command)
    return Change(spec, launcher.plan(spec, edit), edit)


def apply(program: Program, change: Change, checks: Sequence[Check] = ()) -> Kept:
    """Make the change, or leave everything as it was.

    Args:
        program: whose file it is.
        change: from :func:`plan`.
        checks: asked once the server answers, beside the flags and a completion: each says what is wrong, in lines.

    Raises:
        UsageError: nothing was changed: the file or the backup cannot be written, the file has moved on meanwhile, or
            another unfrag is at it.
        NotEnoughEvidence: nothing was changed: the launcher does not answer, or does not know the program.
        RolledBack: the server did not come up as wanted; the old file is back and the old server runs. Or somebody
            edited the file meanwhile and a healthy server runs there: both are left alone.
        RollbackFailed: the old file is back, but the old server did not come up.
    """
    path = change.spec.path
    with only_one(path):
        before = program.launcher.status()  # a launcher that does not answer must be known before anything changes
        if before.state == "UNLOADED":
            raise NotEnoughEvidence(f"{before.hint}. Nothing was changed")
        if digest(program.launcher.read().content) != digest(change.spec.content):
            raise UsageError(f"{path} has changed since it was read: nothing was done. Look at it, then again")
        kept = program.history.keep(
            change.spec,
            change.content,
            change.edit,
            was_up=not before.failed,
            was_stopped=before.state in DOWN_ON_PURPOSE,
        )
        try:
            write_atomically(path, change.content)
            _restart_and_verify(program, change, checks)
        except BaseException as fault:
            raise _ended(program, change, kept, fault) from fault
        return program.history.mark(kept, "applied")


def _ended(program: Program, change: Change, kept: Kept, fault: BaseException) -> BaseException:
    """After a failure: the file and the server as they were; what is to be raised.

    Raises:
        RollbackFailed: the old file is back, but the old server did not come up.
    """
    now = _content_of(change.spec.path)
    if now == change.spec.content:  # it never came to the change
        program.history.mark(kept, "not made")
        return fault
    why = str(fault) if isinstance(fault, UnfragError) else "interrupted"
    edited = ""
    if now != change.content:
        edited = (
            f"\nSomebody edited {change.spec.path} meanwhile: that is kept in {program.history.keep_edit(kept, now)}"
        )
        if program.is_healthy_for_sure():
            program.history.mark(kept, "edited since")
            return RolledBack(f"{why}{edited}, and left as it is, since the server there is healthy")
    take_back(program, kept, f"{why}{edited}")
    known = isinstance(fault, UnfragError | KeyboardInterrupt | SystemExit)
    return RolledBack(f"{why}\nThe change was taken back; {is_now(kept)}{edited}") if known else fault


def _content_of(path: Path) -> bytes:
    """Of a file that may be away, as a drop-in is at first."""
    try:
        return read_file(path)
    except UsageError:
        return b""


def _restart_and_verify(program: Program, change: Change, checks: Sequence[Check]) -> None:
    url = program.restart()
    wrong = problems(url, program.launcher.running(), change.edit)
    for check in () if wrong else checks:
        wrong += check(url)
    if wrong:
        raise RolledBack("the server came up, but " + "; ".join(wrong))


def take_back(program: Program, kept: Kept, why: str) -> Kept:
    """The old file, and the old server as it was: up, stopped, or down and left to its launcher. Marked on record.

    Raises:
        UsageError: the old file cannot be put back; the change stays unfinished.
        RollbackFailed: the old file is back, but the old server did not come up.
    """
    program.progress("taking the change back")
    with undisturbed():
        put_back(Path(kept.path), program.history.before(kept))
        try:
            if kept.was_up:
                program.rescue()
            else:
                program.launcher.restart()
                if kept.was_stopped:
                    program.launcher.stop()
        except UnfragError as fault:
            program.history.mark(kept, "rolled back")
            down = f"The old file is back, but the old server did not come up again: {fault}"
            raise RollbackFailed(f"{why}\n{down}{needs_a_human(kept, program.history)}") from fault
        return program.history.mark(kept, "rolled back")


def needs_a_human(kept: Kept, history: History) -> str:
    """What is left to do when no server comes up any more; to be put behind the reason."""
    return (
        f"\nA human is needed: {kept.program} is down and is left so. Repair {kept.path} by what its log says, and "
        f"start it; what stood there before and after the change is in {history.folder / kept.id}"
    )


def is_now(kept: Kept) -> str:
    """The server after a change was taken back, as far as that promises."""
    if kept.was_up:
        return "the old server runs again"
    return "the server was stopped before and is so again" if kept.was_stopped else "the server was down before"
