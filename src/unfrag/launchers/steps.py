"""The single steps that a change, its recovery and a rollback are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unfrag.commandline import read_flags
from unfrag.errors import NeverReady, UnfragError, UsageError
from unfrag.files import read_file, write_atomically
from unfrag.launchers.verify import answers, not_in_effect
from unfrag.waiting import wait_ready

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from unfrag.launchers import Edit, Launcher


def content_of(path: Path) -> bytes:
    """Of a file that may be away, as a drop-in is at first."""
    try:
        return read_file(path)
    except UsageError:
        return b""


def put(path: Path, content: bytes) -> None:
    """At one stroke. A drop-in or override that was not there before is taken away."""
    if content:
        write_atomically(path, content)
    else:
        path.unlink(missing_ok=True)


def restart(launcher: Launcher, timeout: float, progress: Callable[[str], None]) -> str:
    """Restart with what the file says now, and wait until the server is ready; its URL.

    Raises:
        NeverReady: it does not come up.
        NotEnoughEvidence: the launcher does not answer.
    """
    launcher.restart()
    url = launcher.read().url
    if not url:
        raise NeverReady(f"the port of {launcher.read().program} cannot be found out: write it into its command")
    wait_ready(url, timeout, lambda: _gave_up(launcher), launcher.tail, progress)
    return url


def is_healthy(launcher: Launcher) -> bool:
    """Does a server run there that answers? One that is too busy to answer in time counts as one that does.

    Raises:
        NotEnoughEvidence: the launcher does not answer.
    """
    if launcher.status().failed:
        return False
    url = launcher.read().url
    return bool(url) and answers(url)


def runs_with(launcher: Launcher, edit: Edit) -> bool:
    """Is the edit in the command line of the server that runs? Without flags: does it run as its file says?"""
    try:
        running = read_flags(launcher.running())
    except UnfragError:
        return False
    if edit.flags or edit.removed:
        return not not_in_effect(running, edit)
    return running == read_flags(launcher.read().command)


def _gave_up(launcher: Launcher) -> str | None:
    status = launcher.status()
    return f"will not come up: it is {status.state}" if status.failed else None
