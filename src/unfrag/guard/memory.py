"""What a guard must not forget when it dies: budgets, the action it was in the middle of, and who of several acts."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from typing import TYPE_CHECKING, Any

import msgspec

from unfrag.errors import UsageError
from unfrag.guard.state import State
from unfrag.system.decode import decoded
from unfrag.system.files import open_private, private_folder, read_file, write_atomically

if TYPE_CHECKING:
    from pathlib import Path


class Remembered(msgspec.Struct):
    """``acting``: the restart that was begun at ``acting_since`` and not yet done. ``nightly``: its day.

    ``label``, ``address``, ``origin``: of the target that this is about.
    """

    state: State = State()
    acting: str | None = None
    acting_since: float = 0.0
    nightly: str = ""
    rule: str = ""
    why: str = ""
    label: str = ""
    address: str = ""
    origin: str = ""


class Memory:
    """One server's, in a ``.json`` and a ``.lock`` of a folder.

    Args:
        folder: made when it is not there.
        label: what people call the server; two servers may be called the same.
        identity: what tells it from every other.
        reads_only: nothing is locked and nothing is kept (a dry run).
    """

    def __init__(self, folder: Path, label: str, identity: str = "", reads_only: bool = False) -> None:
        if not reads_only:
            private_folder(folder)
        name = "".join(c if c.isalnum() or c in "-_." else "_" for c in label)[:80]
        self._file = folder / f"{name}-{hashlib.sha256((label + identity).encode()).hexdigest()[:8]}.json"
        self._reads_only = reads_only
        self._lock: Any = None

    def elected(self) -> bool:
        """Is this the guard that acts on this server? Another one takes over when that one ends, however it ends."""
        if self._lock is not None or self._reads_only:
            return True
        handle = os.fdopen(open_private(str(self._file.with_suffix(".lock")), os.O_RDWR), "r+b")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.close()
            return False
        self._lock = handle
        with contextlib.suppress(OSError):
            os.ftruncate(handle.fileno(), 0)
            os.pwrite(handle.fileno(), str(os.getpid()).encode(), 0)
        return True

    def holder(self) -> int | None:
        """The process of the guard that was elected last; None: it is not known."""
        try:
            said = read_file(self._file.with_suffix(".lock"), 20)
        except UsageError:
            return None
        return int(said) if said.isdigit() else None

    def let_go(self) -> None:
        """It is no target any more: nothing of it is kept, and another guard may act on it."""
        if self._lock is not None:
            self._file.unlink(missing_ok=True)
            self._file.with_suffix(".lock").unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def load(self, now: float) -> Remembered:
        """A damaged file counts as none. A clock that starts anew (reboot) leaves no times to compare with."""
        try:
            found = decoded(read_file(self._file), str(self._file), Remembered)
        except UsageError:
            return Remembered()
        if found.state.last_poll is not None and found.state.last_poll > now:
            found.state, found.acting = State(paged=found.state.paged), None
        return found

    def save(self, remembered: Remembered) -> None:
        """A disk that is full or read-only stops nobody."""
        if self._reads_only:
            return
        with contextlib.suppress(UsageError, OSError):
            write_atomically(self._file, msgspec.json.encode(remembered), private=True)
