"""Every change that was made, with the bytes to go back to."""

from __future__ import annotations

import contextlib
import hashlib
import time
from typing import TYPE_CHECKING

import msgspec

from unfrag.errors import UsageError
from unfrag.system.files import read_file, whole_folder, write_atomically
from unfrag.system.paths import state_dir

if TYPE_CHECKING:
    from pathlib import Path

    from unfrag.launchers import Edit, LaunchSpec


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Kept(msgspec.Struct, frozen=True):
    """One change on record.

    Attributes:
        state: ``pending``, ``applied``, ``going back``, ``rolled back``, ``not made``, or ``edited since``.
        number: of this change among all, from 1; 0: made before changes were numbered.
        event: of its last change of state among those of all changes, as a number that only grows.
        flags: that were set; None: bare. With ``removed``, what was asked for.
    """

    id: str
    path: str
    program: str
    before_sha256: str
    after_sha256: str
    state: str
    was_up: bool = True
    was_stopped: bool = False
    number: int = 0
    event: int = 0
    flags: dict[str, str | None] = {}
    removed: tuple[str, ...] = ()


class History:
    """Every change made, newest last: ``<state>/changes/<id>/{record.json, before, after}``.

    Changes are put in order by number, not by the clock in their names: a clock can be set back.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or state_dir() / "changes"

    def keep(
        self,
        spec: LaunchSpec,
        after: bytes,
        edit: Edit | None = None,
        was_up: bool = True,
        was_stopped: bool = False,
    ) -> Kept:
        """Put both contents on disk before anything changes, for the owner's eyes: they may hold keys.

        Raises:
            UsageError: the place cannot be written; nothing is left there.
        """
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + f"-{time.time_ns() % 10**9:09d}"
        kept = Kept(
            f"{stamp}-{spec.program}",
            str(spec.path.resolve()),
            spec.program,
            digest(spec.content),
            digest(after),
            "pending",
            was_up,
            was_stopped,
            number=1 + max((one.number for one in self.all()), default=0),
            flags=edit.flags if edit else {},
            removed=edit.removed if edit else (),
        )
        folder = self.folder / kept.id
        try:
            with whole_folder(folder):
                write_atomically(folder / "before", spec.content, private=True)
                write_atomically(folder / "after", after, private=True)
                return self.mark(kept, "pending")
        except OSError as fault:
            raise UsageError(f"no backup can be kept in {folder}: {fault.strerror}. Nothing was changed") from fault

    def keep_edit(self, kept: Kept, content: bytes) -> Path:
        """What somebody else wrote into the file while the change was made; where it is kept."""
        path = self.folder / kept.id / "edited"
        write_atomically(path, content, private=True)
        return path

    def mark(self, kept: Kept, state: str) -> Kept:
        event = 1 + max((one.event for one in self.all()), default=0)
        record = msgspec.structs.replace(kept, state=state, event=event)
        write_atomically(self.folder / kept.id / "record.json", msgspec.json.encode(record), private=True)
        return record

    def mark_taken_back(self, kept: Kept) -> Kept:
        """The file from before this change stands there: it, and all that was applied after it, the oldest last."""
        changes = [one for one in self.all() if (one.path, one.program) == (kept.path, kept.program)]
        for later in reversed(since(kept, changes)[1:]):
            if later.state == "applied":
                self.mark(later, "rolled back")
        return self.mark(kept, "rolled back")

    def before(self, kept: Kept) -> bytes:
        """The bytes from before the change. Raises UsageError: they are not what was kept."""
        return self._content(kept, "before", kept.before_sha256)

    def after(self, kept: Kept) -> bytes:
        """The bytes that the change wrote. Raises UsageError: they are not what was kept."""
        return self._content(kept, "after", kept.after_sha256)

    def of(self, path: Path, program: str) -> list[Kept]:
        """Those of one program in one file, oldest first."""
        return [kept for kept in self.all() if kept.path == str(path.resolve()) and kept.program == program]

    def all(self) -> list[Kept]:
        """Every change on record, oldest first; damaged records are passed over."""
        found = []
        for record in self.folder.glob("*/record.json"):
            with contextlib.suppress(UsageError, msgspec.MsgspecError, RecursionError):
                found.append(msgspec.json.decode(read_file(record), type=Kept))
        return sorted(found, key=lambda kept: (kept.number, kept.id))

    def _content(self, kept: Kept, name: str, sha256: str) -> bytes:
        try:
            content = read_file(self.folder / kept.id / name)
        except UsageError as fault:
            raise UsageError(f"the backup {kept.id} cannot be read: {fault}") from fault
        if digest(content) != sha256:
            raise UsageError(f"the backup {kept.id} is damaged: its hash does not match. Nothing was changed")
        return content


def left_by(changes: list[Kept]) -> str | None:
    """The hash of what the newest event among these changes left in the file; None where none is on record."""
    done = [kept for kept in changes if kept.state in ("applied", "rolled back", "not made")]
    if not done:
        return None
    newest = max(done, key=lambda kept: (kept.event, kept.number, kept.id))
    return newest.after_sha256 if newest.state == "applied" else newest.before_sha256


def since(kept: Kept, changes: list[Kept]) -> list[Kept]:
    """This change and those after it."""
    return changes[[one.id for one in changes].index(kept.id) :]


def edited_after(kept: Kept, changes: list[Kept]) -> Kept | None:
    """The first later change that began with bytes which no change from ``kept`` on had left: somebody's own edit.

    Going to what stood in the file at ``kept`` would lose it.
    """
    known = {kept.before_sha256, kept.after_sha256}
    for later in since(kept, changes)[1:]:
        if later.before_sha256 not in known:
            return later
        known |= {later.after_sha256}
    return None
