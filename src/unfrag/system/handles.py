"""Folders by handle instead of by name: what was looked at is what is written to, whoever swaps names meanwhile.

Root may be asked to write into a folder of another user. Who owns a folder can put a link in the place of any name in
it at any moment, so root follows no link that another user could have put there; everybody else follows links as usual.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MOST_LINKS = 40  # as many as Linux follows
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def folder_of(path: Path, follow_last: bool = True) -> Iterator[tuple[int, str]]:
    """(handle of the folder that the file is in, its name there). Links on the way are followed once.

    Args:
        follow_last: follow the last name too when it is a link; otherwise it is handed back as it stands.

    Raises:
        OSError: there is no such folder, or root would follow a link that another user could have put there.
    """
    todo = deque(part for part in os.path.join(os.getcwd(), path).split("/") if part not in ("", "."))
    here, links = os.open("/", _FOLDER), 0
    try:
        while todo:
            name = todo.popleft()
            target = _link(name, here) if todo or follow_last else None
            if target is not None:
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                _must_be_trusted(name, here)
                todo.extendleft(part for part in reversed(target.split("/")) if part not in ("", "."))
                if target.startswith("/"):
                    here = _instead(here, os.open("/", _FOLDER))
            elif todo:
                here = _instead(here, os.open(name, _FOLDER, dir_fd=here))
            elif name == "..":
                break
            else:
                yield here, name
                return
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    finally:
        os.close(here)


def _instead(old: int, new: int) -> int:
    os.close(old)
    return new


def _link(name: str, folder: int) -> str | None:
    """Where a link points to; None for what is none, or not there."""
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError:
        return None


def _must_be_trusted(name: str, folder: int) -> None:
    """Raises OSError: this is root, and another user can have put this link here."""
    if os.geteuid() != 0:
        return
    there, link = os.fstat(folder), os.stat(name, dir_fd=folder, follow_symlinks=False)
    shared = there.st_mode & stat.S_IWOTH or (there.st_mode & stat.S_IWGRP and there.st_gid != 0)
    kept_apart = there.st_mode & stat.S_ISVTX and link.st_uid == 0
    if there.st_uid != 0 or (shared and not kept_apart):
        raise OSError(errno.EPERM, f"{name} is a link that another user can change, and root follows none such")
