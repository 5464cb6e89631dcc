"""Back to the file from before a recorded change, or forward again to what a change wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from unfrag.apply.change import Change, needs_a_human
from unfrag.apply.history import History, Kept, digest, edited_after, left_by
from unfrag.apply.lock import only_one
from unfrag.errors import RollbackFailed, RolledBack, UnfragError, UsageError
from unfrag.launchers import Edit
from unfrag.system.files import put_back
from unfrag.system.session import undisturbed

if TYPE_CHECKING:
    from unfrag.apply.program import Program
    from unfrag.launchers import LaunchSpec


def rollback(program: Program, kept: Kept) -> None:
    """Go back to the file from before a recorded change, whatever changes came after it, and restart.

    Raises:
        UsageError: the file is not as unfrag left it, or somebody's edit would be lost; nothing was changed.
        NotEnoughEvidence: the launcher does not answer; nothing was changed.
        RolledBack: the server of the old file does not come up, so what a healthy server ran with is back.
        RollbackFailed: the old file is back, no server came up with it, and none was healthy before; or what was
            healthy did not come up again.
    """
    history, launcher = program.history, program.launcher
    content = history.before(kept)
    with only_one(launcher.read().path):
        spec = launcher.read()
        _must_be_untouched_since(spec, kept, history)
        was_healthy = program.is_healthy()
        history.mark(kept, "going back")
        put_back(spec.path, content)
        failed: BaseException | None = None
        try:
            program.restart()
        except BaseException as fault:
            if was_healthy:
                _stay(program, spec, kept, fault)
            failed = fault
        history.mark_taken_back(kept)
        if isinstance(failed, UnfragError):
            raise _down(program, failed, kept) from failed
        if failed is not None:
            raise failed


def _stay(program: Program, spec: LaunchSpec, kept: Kept, fault: BaseException) -> NoReturn:
    """Put back what a healthy server ran with until the rollback. Raises RolledBack, or RollbackFailed."""
    why = f"the server of the old file did not come up: {fault}" if isinstance(fault, UnfragError) else "interrupted"
    program.progress("putting back what ran before")
    with undisturbed():
        put_back(spec.path, spec.content)
        try:
            program.rescue()
        except UnfragError as worse:
            down = f"What ran before is in the file again, but did not come up either: {worse}"
            raise RollbackFailed(f"{why}\n{down}{needs_a_human(kept, program.history)}") from worse
        finally:
            program.history.mark(kept, kept.state)
    raise RolledBack(f"{why}\nSo nothing was taken back: the file and the server are as they were") from fault


def bring_up(program: Program, kept: Kept) -> bool:
    """Start a server that is not healthy with the file that ``kept`` left; False: it was healthy, nothing was done.

    Raises:
        NotEnoughEvidence: the launcher does not answer.
        RollbackFailed: it does not come up.
    """
    with only_one(program.launcher.read().path):
        if program.is_healthy():
            return False
        try:
            program.restart()
        except UnfragError as fault:
            raise _down(program, fault, kept) from fault
        return True


def forward(spec: LaunchSpec, kept: Kept, history: History) -> Change:
    """What a change wrote before it was taken back, as a change to be applied anew. Raises UsageError."""
    content = history.after(kept)
    if content != spec.content:
        _must_be_untouched_since(spec, kept, history)
    return Change(spec, content, Edit(kept.flags, kept.removed))


def _down(program: Program, fault: UnfragError, kept: Kept) -> RollbackFailed:
    return RollbackFailed(
        f"the old file is back, but its server did not come up: {fault}{needs_a_human(kept, program.history)}"
    )


def _must_be_untouched_since(spec: LaunchSpec, kept: Kept, history: History) -> None:
    """Raises UsageError: somebody else's edit since ``kept`` would be lost."""
    changes = history.of(spec.path, spec.program)
    edited = ""
    if digest(spec.content) != left_by(changes):
        edited = "since unfrag last wrote it"
    elif (later := edited_after(kept, changes)) is not None:
        edited = f"between {kept.id} and {later.id}"
    if edited:
        raise UsageError(
            f"{spec.path} was edited {edited}, and that would be lost: nothing was changed. Edit it by hand; what "
            "stood there is under its id in the folder of changes, which --list names"
        )
