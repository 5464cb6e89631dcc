"""A log that grows, read as `tail -F` does: what is new at each reading, also of a file that was exchanged or cut."""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from unfrag.doctor.probes.log.gather import Gatherer, places

if TYPE_CHECKING:
    from unfrag.facts.log import Log

_STEP = 4 << 20


class _Lines(Protocol):
    is_over: bool

    def read(self) -> bytes: ...


class Following:
    """Everything that was read so far, as a :class:`Log`. ``-`` reads stdin."""

    def __init__(self, path: Path) -> None:
        self._lines: _Lines = _Stdin() if path == Path("-") else _File(path)
        self._gatherer = Gatherer()
        self._begun = b""

    @property
    def is_over(self) -> bool:
        """Nothing will come any more: stdin has ended."""
        return self._lines.is_over

    def grow(self) -> bool:
        """Read what is new; False: nothing is. Half a line waits for its end."""
        grown = False
        while block := self._lines.read():
            whole, end, self._begun = (self._begun + block).rpartition(b"\n")
            grown |= self._feed(whole + end)
        if self.is_over and self._begun:
            grown |= self._feed(self._begun + b"\n")
            self._begun = b""
        return grown

    def log(self) -> Log:
        return self._gatherer.log()

    def _feed(self, lines: bytes) -> bool:
        if not lines:
            return False
        chunk = self._gatherer.straighten(lines)
        self._gatherer.feed(chunk, places(chunk))
        return True


class _File:
    is_over = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: BinaryIO | None = None

    def read(self) -> bytes:
        """The old file to its end, before the one that has its name now."""
        block = self._stream.read(_STEP) if self._stream is not None else b""
        if block or not self._is_exchanged():
            return block
        if self._stream is not None:
            self._stream.close()
        try:
            self._stream = self._path.open("rb")
        except OSError:  # away for a moment, as between two steps of a rotation
            self._stream = None
            return b""
        return self._stream.read(_STEP)

    def _is_exchanged(self) -> bool:
        if self._stream is None:
            return True
        try:
            now, mine = self._path.stat(), os.fstat(self._stream.fileno())
        except OSError:
            return False
        return (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino) or now.st_size < self._stream.tell()


class _Stdin:
    def __init__(self) -> None:
        self.is_over = False

    def read(self) -> bytes:
        """What is there by now."""
        handle = sys.stdin.fileno()
        if self.is_over or not select.select([handle], [], [], 0)[0]:
            return b""
        block = os.read(handle, _STEP)
        self.is_over = not block
        return block
