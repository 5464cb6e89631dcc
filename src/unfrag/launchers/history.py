"""Every change that was made, with the bytes to go back to."""

from __future__ import annotations

import contextlib
import hashlib
import time
from typing import TYPE_CHECKING

import msgspec

from unfrag.errors import UsageError
from unfrag.files import whole_folder, write_atomically
from unfrag.paths import state_dir

if TYPE_CHECKING:
    from pathlib import Path


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Kept(msgspec.Struct, frozen=True):
    """One change on record. ``state``: pending, applied, going back, rolled back, not made, or edited since."""

    id: str
    path: str
    program: str
    before_sha256: str
    after_sha256: str
    state: str
    was_up: bool = True
    was_stopped: bool = False


class History:
    """Every change made, newest last: ``<state>/changes/<id>/{record.json, before, after}``."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or state_dir() / "changes"

    def keep(
        self,
        path: Path,
        program: str,
        before: bytes,
        after: bytes,
        was_up: bool = True,
        was_stopped: bool = False,
    ) -> Kept:
        """Put both contents on disk before anything changes, for the owner's eyes: they may hold keys.

        Raises:
            UsageError: the place cannot be written.
        """
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + f"-{time.time_ns() % 10**9:09d}"
        hashes = digest(before), digest(after)
        kept = Kept(f"{stamp}-{program}", str(path.resolve()), program, *hashes, "pending", was_up, was_stopped)
        folder = self._folder / kept.id
        try:
            with whole_folder(folder):
                write_atomically(folder / "before", before, private=True)
                write_atomically(folder / "after", after, private=True)
                self.mark(kept, "pending")
        except OSError as fault:
            raise UsageError(f"no backup can be kept in {folder}: {fault.strerror}. Nothing was changed") from fault
        return kept

    def keep_edit(self, kept: Kept, content: bytes) -> Path:
        """What somebody else wrote into the file while the change was made; where it is kept."""
        path = self._folder / kept.id / "edited"
        write_atomically(path, content, private=True)
        return path

    def mark(self, kept: Kept, state: str) -> None:
        record = msgspec.structs.replace(kept, state=state)
        write_atomically(self._folder / kept.id / "record.json", msgspec.json.encode(record), private=True)

    def before(self, kept: Kept) -> bytes:
        """The bytes from before the change. Raises UsageError: they are not what was kept."""
        try:
            content = (self._folder / kept.id / "before").read_bytes()
        except OSError as fault:
            raise UsageError(f"the backup {kept.id} cannot be read: {fault.strerror}") from fault
        if digest(content) != kept.before_sha256:
            raise UsageError(f"the backup {kept.id} is damaged: its hash does not match. Nothing was changed")
        return content

    def of(self, path: Path, program: str) -> list[Kept]:
        """Those of one program in one file, oldest first."""
        return [kept for kept in self.all() if kept.path == str(path.resolve()) and kept.program == program]

    def all(self) -> list[Kept]:
        """Every change on record, oldest first; damaged records are passed over."""
        found = []
        for record in sorted(self._folder.glob("*/record.json")):
            with contextlib.suppress(OSError, msgspec.DecodeError, msgspec.ValidationError):
                found.append(msgspec.json.decode(record.read_bytes(), type=Kept))
        return found
