"""One change to a running server: back up, write, restart, verify, and take back what does not hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from unfrag.commandline import must_be_startable
from unfrag.errors import RollbackFailed, RolledBack, UnfragError, UsageError
from unfrag.files import write_atomically
from unfrag.launchers import Edit
from unfrag.launchers.diff import diff
from unfrag.launchers.history import History, Kept, digest
from unfrag.launchers.lock import only_one
from unfrag.launchers.steps import content_of, is_healthy, put, restart
from unfrag.launchers.verify import problems
from unfrag.session import undisturbed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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


def apply(
    launcher: Launcher,
    change: Change,
    timeout: float,
    progress: Callable[[str], None] = lambda line: None,
    history: History | None = None,
    checks: Sequence[Check] = (),
) -> Kept:
    """Make the change, or leave everything as it was.

    Args:
        launcher: of the server.
        change: from :func:`plan`.
        timeout: seconds that the server may take to be ready.
        progress: called with a line while waiting.
        history: where the old file is kept.
        checks: asked once the server answers, beside the flags and a completion: each says what is wrong, in lines.

    Raises:
        UsageError: nothing was changed: the file or the backup cannot be written, the file has moved on meanwhile, or
            another unfrag is at it.
        NotEnoughEvidence: nothing was changed: the launcher does not answer.
        RolledBack: the server did not come up as wanted; the old file is back and the old server runs. Or somebody
            edited the file meanwhile and a healthy server runs there: both are left alone.
        RollbackFailed: the old file is back, but the old server did not come up.
    """
    history = history or History()
    with only_one(change.spec.path):
        before = launcher.status()  # a launcher that does not answer must be known before anything changes
        if digest(launcher.read().content) != digest(change.spec.content):
            raise UsageError(
                f"{change.spec.path} has changed since it was read: nothing was done. Look at it, then again"
            )
        kept = history.keep(
            change.spec,
            change.content,
            change.edit,
            was_up=not before.failed,
            was_stopped=before.state == "STOPPED",
        )
        try:
            write_atomically(change.spec.path, change.content)
            _restart_and_verify(launcher, change, timeout, progress, checks)
        except BaseException as fault:
            raise _ended(launcher, change, kept, history, timeout, progress, fault) from fault
        return history.mark(kept, "applied")


def _ended(
    launcher: Launcher,
    change: Change,
    kept: Kept,
    history: History,
    timeout: float,
    progress: Callable[[str], None],
    fault: BaseException,
) -> BaseException:
    """After a failure: the file and the server as they were; what is to be raised.

    Raises:
        RollbackFailed: the old file is back, but the old server did not come up.
    """
    now = content_of(change.spec.path)
    if now == change.spec.content:  # it never came to the change
        history.mark(kept, "not made")
        return fault
    why = str(fault) if isinstance(fault, UnfragError) else "interrupted"
    edited = ""
    if now != change.content:
        edited = f"\nSomebody edited {change.spec.path} meanwhile: that is kept in {history.keep_edit(kept, now)}"
        if _is_healthy_for_sure(launcher):
            history.mark(kept, "edited since")
            return RolledBack(f"{why}{edited}, and left as it is, since the server there is healthy")
    take_back(launcher, kept, history, timeout, progress, f"{why}{edited}")
    known = isinstance(fault, UnfragError | KeyboardInterrupt | SystemExit)
    return RolledBack(f"{why}\nThe change was taken back; {is_now(kept)}{edited}") if known else fault


def _is_healthy_for_sure(launcher: Launcher) -> bool:
    try:
        return is_healthy(launcher)
    except UnfragError:
        return False


def _restart_and_verify(
    launcher: Launcher, change: Change, timeout: float, progress: Callable[[str], None], checks: Sequence[Check]
) -> None:
    url = restart(launcher, timeout, progress)
    wrong = problems(url, launcher.running(), change.edit)
    for check in () if wrong else checks:
        wrong += check(url)
    if wrong:
        raise RolledBack("the server came up, but " + "; ".join(wrong))


def take_back(
    launcher: Launcher, kept: Kept, history: History, timeout: float, progress: Callable[[str], None], why: str
) -> Kept:
    """The old file, and the old server as it was: up, stopped, or down and left to its launcher. Marked on record.

    Raises:
        UsageError: the old file cannot be put back; the change stays unfinished.
        RollbackFailed: the old file is back, but the old server did not come up.
    """
    progress("taking the change back")
    with undisturbed():
        put(Path(kept.path), history.before(kept))
        try:
            if kept.was_up:
                restart(launcher, timeout, progress)
            else:
                launcher.restart()
                if kept.was_stopped:
                    launcher.stop()
        except UnfragError as fault:
            history.mark(kept, "rolled back")
            raise RollbackFailed(
                f"{why}\nThe old file is back, but the old server did not come up again: {fault}"
            ) from fault
        return history.mark(kept, "rolled back")


def is_now(kept: Kept) -> str:
    """The server after a change was taken back, as far as that promises."""
    if kept.was_up:
        return "the old server runs again"
    return "the server was stopped before and is so again" if kept.was_stopped else "the server was down before"
