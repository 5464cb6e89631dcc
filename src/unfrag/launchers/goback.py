"""Back to the file from before a recorded change, or forward again to what a change wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from unfrag.errors import RollbackFailed, RolledBack, UnfragError, UsageError
from unfrag.launchers import Edit
from unfrag.launchers.change import Change
from unfrag.launchers.history import History, Kept, digest, left_by
from unfrag.launchers.lock import only_one
from unfrag.launchers.steps import is_healthy, put, restart
from unfrag.session import undisturbed

if TYPE_CHECKING:
    from collections.abc import Callable

    from unfrag.launchers import Launcher, LaunchSpec


def rollback(
    launcher: Launcher,
    kept: Kept,
    timeout: float,
    progress: Callable[[str], None] = lambda line: None,
    history: History | None = None,
) -> None:
    """Go back to the file from before a recorded change, whatever changes came after it, and restart.

    Raises:
        UsageError: the file is not as unfrag left it; nothing was changed.
        NotEnoughEvidence: the launcher does not answer; nothing was changed.
        RolledBack: the server of the old file does not come up, so what a healthy server ran with is back.
        RollbackFailed: the old file is back, no server came up with it, and none was healthy before; or what was
            healthy did not come up again.
    """
    history = history or History()
    content = history.before(kept)
    with only_one(launcher.read().path):
        spec = launcher.read()
        if digest(spec.content) == kept.before_sha256:
            raise UsageError(f"{spec.path} is already as it was before {kept.id}; nothing to do")
        changes = _untouched_since(spec, history)
        was_healthy = is_healthy(launcher)
        later = changes[[one.id for one in changes].index(kept.id) :]
        history.mark(kept, "going back")
        put(spec.path, content)
        failed: BaseException | None = None
        try:
            restart(launcher, timeout, progress)
        except BaseException as fault:
            if was_healthy:
                _stay(launcher, spec, kept, history, timeout, progress, fault)
            failed = fault
        for one in reversed(later):  # what stands in the file now is marked last
            if one.state == "applied" or one.id == kept.id:
                history.mark(one, "rolled back")
        if isinstance(failed, UnfragError):
            raise RollbackFailed(f"the old file is back, but its server did not come up: {failed}") from failed
        if failed is not None:
            raise failed


def _stay(
    launcher: Launcher,
    spec: LaunchSpec,
    kept: Kept,
    history: History,
    timeout: float,
    progress: Callable[[str], None],
    fault: BaseException,
) -> NoReturn:
    """Put back what a healthy server ran with until the rollback. Raises RolledBack, or RollbackFailed."""
    why = f"the server of the old file did not come up: {fault}" if isinstance(fault, UnfragError) else "interrupted"
    progress("putting back what ran before")
    with undisturbed():
        put(spec.path, spec.content)
        try:
            restart(launcher, timeout, progress)
        except UnfragError as worse:
            raise RollbackFailed(
                f"{why}\nWhat ran before is in the file again, but did not come up either: {worse}"
            ) from worse
        finally:
            history.mark(kept, kept.state)
    raise RolledBack(f"{why}\nSo nothing was taken back: the file and the server are as they were") from fault


def bring_up(launcher: Launcher, timeout: float, progress: Callable[[str], None] = lambda line: None) -> bool:
    """Start a server that is not healthy with the file that stands there; False: it was healthy, nothing was done.

    Raises:
        NotEnoughEvidence: the launcher does not answer.
        RollbackFailed: it does not come up.
    """
    with only_one(launcher.read().path):
        if is_healthy(launcher):
            return False
        try:
            restart(launcher, timeout, progress)
        except UnfragError as fault:
            raise RollbackFailed(f"the old file is back, but its server did not come up: {fault}") from fault
        return True


def forward(spec: LaunchSpec, kept: Kept, history: History) -> Change:
    """What a change wrote before it was taken back, as a change to be applied anew. Raises UsageError."""
    content = history.after(kept)
    if digest(spec.content) == kept.after_sha256:
        raise UsageError(f"{spec.path} is already as {kept.id} wrote it; nothing to do")
    _untouched_since(spec, history)
    return Change(spec, content, Edit(kept.flags, kept.removed))


def _untouched_since(spec: LaunchSpec, history: History) -> list[Kept]:
    """Every change of this program. Raises UsageError: somebody else has edited the file since the last of them."""
    changes = history.of(spec.path, spec.program)
    if digest(spec.content) != left_by(changes):
        raise UsageError(
            f"{spec.path} was edited since unfrag last wrote it: nothing was changed. Edit it by hand; what stood "
            "there is under its id in the folder of changes, which --list names"
        )
    return changes
