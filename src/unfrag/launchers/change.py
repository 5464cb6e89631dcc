"""One change to a running server: back up, write, restart, verify, and take back what does not hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from unfrag.commandline import read_flags
from unfrag.errors import NeverReady, RollbackFailed, RolledBack, UnfragError, UsageError
from unfrag.files import write_atomically
from unfrag.launchers import Edit
from unfrag.launchers.diff import diff
from unfrag.launchers.history import History, Kept, digest
from unfrag.launchers.lock import only_one
from unfrag.launchers.verify import problems
from unfrag.session import undisturbed
from unfrag.waiting import wait_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unfrag.launchers import Launcher, LaunchSpec

    Check = Callable[[str], list[str]]  # with the server's URL


UNFINISHED = ("pending", "going back")


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
        RolledBack: the server did not come up as wanted; the old file is back and the old server runs.
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
            change.spec.path,
            change.spec.program,
            change.spec.content,
            change.content,
            was_up=not before.failed,
            was_stopped=before.state == "STOPPED",
        )
        try:
            write_atomically(change.spec.path, change.content)
            _restart_and_verify(launcher, change, timeout, progress, checks)
        except BaseException as fault:
            now = _content(change.spec.path)
            if now == change.spec.content:  # it never came to the change
                history.mark(kept, "not made")
                raise
            edited = ""
            if now != change.content:
                edited = f". Somebody edited the file meanwhile: that is kept in {history.keep_edit(kept, now)}"
            _take_back(launcher, kept, history, timeout, progress, why=fault)
            history.mark(kept, "rolled back")
            if isinstance(fault, UnfragError):
                raise RolledBack(f"{fault}\nThe change was taken back; {_now(kept)}{edited}") from fault
            raise
        history.mark(kept, "applied")
    return kept


def unfinished(spec: LaunchSpec, history: History) -> Kept | None:
    """The change of this program that a killed unfrag left half way, if there is one."""
    pending = [kept for kept in history.of(spec.path, spec.program) if kept.state in UNFINISHED]
    return pending[-1] if pending else None


def finish(
    launcher: Launcher,
    timeout: float,
    progress: Callable[[str], None] = lambda line: None,
    history: History | None = None,
) -> str | None:
    """Take back what a killed unfrag left half way; what was done, in a line, or None when nothing was left.

    Raises:
        UsageError: another unfrag is at it, or the file was edited since: nothing was changed.
        RollbackFailed: the old file is back, but the old server did not come up.
    """
    history = history or History()
    with only_one(launcher.read().path):
        spec = launcher.read()
        kept = unfinished(spec, history)
        if kept is None:
            return None
        now = digest(spec.content)
        if now == kept.before_sha256 and _as_written(launcher, spec, kept):
            history.mark(kept, "not made")
            return f"{kept.id} was cut short before it changed anything"
        theirs = _on_record(spec, history) if kept.state == "going back" else {kept.before_sha256, kept.after_sha256}
        if now not in theirs:
            history.mark(kept, "edited since")
            raise UsageError(
                f"{kept.id} was cut short and {spec.path} was edited since: look at it, restart the server, then again"
            )
        why = UsageError(f"{kept.id} was cut short")
        _take_back(launcher, kept, history, timeout, progress, why)
        history.mark(kept, "rolled back")
        return f"{kept.id} was cut short; it was taken back, and {_now(kept)}"


def _as_written(launcher: Launcher, spec: LaunchSpec, kept: Kept) -> bool:
    """Does the server already run as its file says (or is down, if it was down before)?"""
    try:
        status = launcher.status()
        running = None if status.failed else launcher.running()
    except UnfragError:
        return False
    return not kept.was_up if running is None else read_flags(running) == read_flags(spec.command)


def _now(kept: Kept) -> str:
    if kept.was_up:
        return "the old server runs again"
    return "the server was stopped before and is so again" if kept.was_stopped else "the server was down before"


def _content(path: Path) -> bytes:
    """Of a file that may be away, as a drop-in is at first."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _restart(launcher: Launcher, timeout: float, progress: Callable[[str], None]) -> str:
    """Restart with what the file says now, and wait until the server is ready; its URL."""
    launcher.restart()
    url = launcher.read().url
    if not url:
        raise NeverReady(f"the port of {launcher.read().program} cannot be found out: write it into its command")
    wait_ready(url, timeout, lambda: _gave_up(launcher), launcher.tail, progress)
    return url


def _restart_and_verify(
    launcher: Launcher, change: Change, timeout: float, progress: Callable[[str], None], checks: Sequence[Check]
) -> None:
    url = _restart(launcher, timeout, progress)
    wrong = problems(url, launcher.running(), change.edit)
    for check in () if wrong else checks:
        wrong += check(url)
    if wrong:
        raise RolledBack("the server came up, but " + "; ".join(wrong))


def _gave_up(launcher: Launcher) -> str | None:
    status = launcher.status()
    return f"will not come up: it is {status.state}" if status.failed else None


def _put(path: Path, content: bytes) -> None:
    """At one stroke. A drop-in or override that was not there before is taken away."""
    if content:
        write_atomically(path, content)
    else:
        path.unlink(missing_ok=True)


def _take_back(
    launcher: Launcher,
    kept: Kept,
    history: History,
    timeout: float,
    progress: Callable[[str], None],
    why: BaseException,
) -> None:
    """The old file, and the old server as it was: up, stopped, or down and left to its launcher."""
    progress("taking the change back")
    try:
        with undisturbed():
            _put(Path(kept.path), history.before(kept))
            if kept.was_up:
                _restart(launcher, timeout, progress)
            else:
                launcher.restart()
                if kept.was_stopped:
                    launcher.stop()
    except UnfragError as fault:
        raise RollbackFailed(f"{why}\nand the old server did not come up again: {fault}") from why


def rollback(
    launcher: Launcher,
    kept: Kept,
    timeout: float,
    progress: Callable[[str], None] = lambda line: None,
    history: History | None = None,
) -> None:
    """Go back to the file from before a recorded change, whatever changes came after it, and restart.

    Raises:
        UsageError: the file is in no state that is on record; nothing was changed.
        RollbackFailed: the old file is back, but its server does not come up.
    """
    history = history or History()
    content = history.before(kept)
    with only_one(launcher.read().path):
        spec = launcher.read()
        now = digest(spec.content)
        if now == kept.before_sha256:
            raise UsageError(f"{spec.path} is already as it was before {kept.id}; nothing to do")
        if now not in _on_record(spec, history):
            raise UsageError(
                f"{spec.path} was edited after {kept.id}: nothing was changed. `unfrag rollback --list` shows all"
            )
        launcher.status()
        undone = [one for one in history.of(spec.path, spec.program) if one.id >= kept.id and one.state == "applied"]
        history.mark(kept, "going back")
        _put(spec.path, content)
        try:
            _restart(launcher, timeout, progress)
        except UnfragError as fault:
            raise RollbackFailed(f"the old file is back, but its server did not come up: {fault}") from fault
        for one in undone:
            history.mark(one, "rolled back")
        history.mark(kept, "rolled back")


def _on_record(spec: LaunchSpec, history: History) -> set[str]:
    """The hashes of every content that this program's changes began or ended with."""
    return {sha for kept in history.of(spec.path, spec.program) for sha in (kept.before_sha256, kept.after_sha256)}
