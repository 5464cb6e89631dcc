"""A change that a killed unfrag left half way is ended by what is there now.

A healthy server is never restarted for it, and what somebody has written into the file since is never written over.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unfrag.launchers import Edit
from unfrag.launchers.change import is_now, take_back
from unfrag.launchers.history import History, Kept, digest
from unfrag.launchers.lock import only_one
from unfrag.launchers.steps import is_healthy, put, runs_with

if TYPE_CHECKING:
    from collections.abc import Callable

    from unfrag.launchers import Launcher, LaunchSpec

_STATES = ("pending", "going back")


@dataclass(frozen=True)
class Ended:
    """``kept``: as it is on record now. ``line``: what was found and done, for a human to read."""

    kept: Kept
    line: str


def unfinished(spec: LaunchSpec, history: History) -> Kept | None:
    """The change of this program that a killed unfrag left half way, if there is one."""
    found = [kept for kept in history.of(spec.path, spec.program) if kept.state in _STATES]
    return found[-1] if found else None


def finish(
    launcher: Launcher,
    timeout: float,
    progress: Callable[[str], None] = lambda line: None,
    history: History | None = None,
) -> Ended | None:
    """End what a killed unfrag left half way; None when there was nothing.

    The file is taken back to the one from before where it still is what the change wrote, and no healthy server runs
    with that. The server is restarted only if it is not healthy then.

    Raises:
        UsageError: another unfrag is at it: nothing was changed.
        NotEnoughEvidence: the launcher does not answer: nothing was changed.
        RollbackFailed: the old file is back, but the old server did not come up.
    """
    history = history or History()
    with only_one(launcher.read().path):
        spec = launcher.read()
        kept = unfinished(spec, history)
        if kept is None:
            return None
        if kept.state == "going back":
            return _going_back(spec, kept, history)
        return _pending(launcher, spec, kept, history, timeout, progress)


def _pending(
    launcher: Launcher,
    spec: LaunchSpec,
    kept: Kept,
    history: History,
    timeout: float,
    progress: Callable[[str], None],
) -> Ended:
    now, cut = digest(spec.content), f"{kept.id} was cut short"
    if now == kept.before_sha256:
        return Ended(history.mark(kept, "not made"), f"{cut}; {spec.path} is as it was before it")
    if now != kept.after_sha256:
        return _edited(spec, kept, history, cut)
    if not is_healthy(launcher):
        kept = take_back(launcher, kept, history, timeout, progress, cut)
        return Ended(kept, f"{cut}; it was taken back, and {is_now(kept)}")
    if runs_with(launcher, Edit(kept.flags, kept.removed)):
        kept = history.mark(kept, "applied")
        return Ended(kept, f"{cut} when the server had its flags: it is left so, but nothing was verified")
    put(Path(kept.path), history.before(kept))
    return Ended(
        history.mark(kept, "not made"),
        f"{cut} before the restart: {spec.path} is as it was before it, and the server was not touched",
    )


def _going_back(spec: LaunchSpec, kept: Kept, history: History) -> Ended:
    now, cut = digest(spec.content), f"the rollback of {kept.id} was cut short"
    if now == kept.before_sha256:
        changes = history.of(spec.path, spec.program)
        for later in changes[[one.id for one in changes].index(kept.id) + 1 :]:
            if later.state == "applied":
                history.mark(later, "rolled back")
        return Ended(history.mark(kept, "rolled back"), f"{cut}; {spec.path} is as it was before that change")
    newest = [one for one in history.of(spec.path, spec.program) if one.state == "applied" or one.id == kept.id][-1]
    if now == newest.after_sha256:
        return Ended(history.mark(kept, "applied"), f"{cut} before it changed anything")
    return _edited(spec, kept, history, cut)


def _edited(spec: LaunchSpec, kept: Kept, history: History, cut: str) -> Ended:
    return Ended(history.mark(kept, "edited since"), f"{cut}, and {spec.path} was edited since: that is left as it is")
