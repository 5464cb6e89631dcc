"""One change at a time: a lock on the folder of the file that is changed, gone with its holder however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from unfrag.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold off every other unfrag that wants to change a file in this folder, also one of another user.

    Raises:
        UsageError: another one is at it, or there is no such folder.
    """
    try:
        path.resolve().parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.resolve().parent, os.O_RDONLY)
    except OSError as fault:
        raise UsageError(f"{path.parent}: {fault.strerror}") from fault
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"another unfrag is changing a file in {path.resolve().parent}: wait for it") from None
        yield
    finally:
        os.close(folder)


def is_held(path: Path) -> bool:
    """Does somebody hold the lock on this file or folder?"""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(handle)
