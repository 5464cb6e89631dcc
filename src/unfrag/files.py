"""Files that are never half-written."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from unfrag.errors import UsageError


def write_atomically(path: Path, content: bytes, private: bool = False) -> None:
    """Replace a file's content: afterwards it holds the old bytes or the new, whatever happens in between.

    Keeps mode and owner; follows a symbolic link to the file behind it. ``private``: a new file is its owner's alone.

    Raises:
        UsageError: the file or its folder cannot be written. Nothing has changed then.
    """
    path = path.resolve()
    if path.exists() and not os.access(path, os.W_OK):
        raise UsageError(f"{path} cannot be written: permission denied. Nothing was changed; run as its owner")
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            if path.exists():
                shutil.copystat(path, temporary)
                with contextlib.suppress(PermissionError):
                    os.chown(temporary, path.stat().st_uid, path.stat().st_gid)
            else:
                os.umask(umask := os.umask(0))
                os.chmod(temporary, 0o600 if private else 0o666 & ~umask)
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as fault:
        raise UsageError(f"{path} cannot be written: {fault.strerror}. Nothing was changed") from fault


def read_if_there(path: Path) -> bytes:
    """A file's bytes, none when there is no such file. Raises UsageError: it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as fault:
        raise UsageError(f"{path}: {fault.strerror}") from fault


def must_be_writable(path: Path) -> None:
    """Find out before long work whether its result can be written. Raises UsageError; leaves nothing behind."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file")
    try:
        with tempfile.TemporaryFile(dir=path.absolute().parent):
            pass
    except OSError as fault:
        raise UsageError(f"{path} cannot be written: {fault.strerror}; name another place") from fault
