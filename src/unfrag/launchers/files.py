"""Files that are never half-written, and copies to go back to."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path

import msgspec

from unfrag.errors import UsageError
from unfrag.paths import state_dir


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file's content: afterwards it holds the old bytes or the new, whatever happens in between.

    Keeps mode and owner; follows a symbolic link to the file behind it.

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
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as fault:
        raise UsageError(f"{path} cannot be written: {fault.strerror}. Nothing was changed") from fault


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Kept(msgspec.Struct, frozen=True):
    """One change on record. ``state``: pending, applied, rolled back, or not made."""

    id: str
    path: str
    program: str
    before_sha256: str
    after_sha256: str
    state: str


class History:
    """Every change made, newest last: ``<state>/changes/<id>/{record.json, before, after}``."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or state_dir() / "changes"

    def keep(self, path: Path, program: str, before: bytes, after: bytes) -> Kept:
        """Put both contents on disk before anything changes. Raises UsageError: the place cannot be written."""
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + f"-{time.time_ns() % 10**9:09d}"
        kept = Kept(f"{stamp}-{program}", str(path.resolve()), program, digest(before), digest(after), "pending")
        folder = self._folder / kept.id
        try:
            folder.mkdir(parents=True)
        except OSError as fault:
            raise UsageError(f"no backup can be kept in {folder}: {fault.strerror}. Nothing was changed") from fault
        write_atomically(folder / "before", before)
        write_atomically(folder / "after", after)
        self.mark(kept, "pending")
        return kept

    def mark(self, kept: Kept, state: str) -> None:
        record = msgspec.structs.replace(kept, state=state)
        write_atomically(self._folder / kept.id / "record.json", msgspec.json.encode(record))

    def before(self, kept: Kept) -> bytes:
        """The bytes from before the change. Raises UsageError: they are not what was kept."""
        try:
            content = (self._folder / kept.id / "before").read_bytes()
        except OSError as fault:
            raise UsageError(f"the backup {kept.id} cannot be read: {fault.strerror}") from fault
        if digest(content) != kept.before_sha256:
            raise UsageError(f"the backup {kept.id} is damaged: its hash does not match. Nothing was changed")
        return content

    def all(self) -> list[Kept]:
        """Every change on record, oldest first; damaged records are passed over."""
        found = []
        for record in sorted(self._folder.glob("*/record.json")):
            with contextlib.suppress(OSError, msgspec.DecodeError, msgspec.ValidationError):
                found.append(msgspec.json.decode(record.read_bytes(), type=Kept))
        return found
