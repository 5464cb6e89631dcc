"""What the guard did and why, a line of JSON each, in a file that does not grow without end."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec

from unfrag.system.files import open_private
from unfrag.system.handles import folder_of

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES, KEPT = 10 << 20, 3


class Audit:
    """Appends; a full or read-only disk stops nobody, and is told in the first line that gets through again."""

    def __init__(self, path: Path, echo: bool = False) -> None:
        self._path, self._echo = path, echo
        self._lost = 0
        self._lock = threading.RLock()

    def write(self, target: str, event: str, **more: Any) -> None:
        """``time`` in UTC, ``target``, ``event``, and what belongs to it. The first loss is told on standard error."""
        with self._lock:
            is_first = not self._lost
            why = self.tried(target, event, **more)
        if why is not None and is_first:
            with contextlib.suppress(OSError):
                sys.stderr.write(f"unfrag guard: {self._path}: {why}; it goes on without\n")

    def tried(self, target: str, event: str, **more: Any) -> str | None:
        """The same, told to nobody but the caller: why the line could not be written; None: it was."""
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "target": target, "event": event, **more}
        with self._lock:
            if self._lost:
                line["lost_lines"] = self._lost
            text = _encoded(line) + b"\n"
            if self._echo:
                with contextlib.suppress(OSError):
                    sys.stdout.buffer.write(text)
                    sys.stdout.flush()
            try:
                self._append(text)
            except OSError as fault:
                self._lost += 1
                is_missing = fault.errno == errno.ENOENT
                return f"there is no folder {self._path.parent}" if is_missing else fault.strerror or str(fault)
            self._lost = 0
            return None

    def _append(self, text: bytes) -> None:
        with folder_of(self._path, follow_last=False) as (folder, name):
            handle = open_private(name, os.O_RDWR, folder)
            if os.fstat(handle).st_size + len(text) > MAX_BYTES:
                os.close(handle)
                _rotate(folder, name)
                handle = open_private(name, os.O_RDWR, folder)
        with os.fdopen(handle, "r+b") as file:
            end = file.seek(0, 2)
            try:
                file.write(text)
                file.flush()
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(end)  # no half line
                raise


def _encoded(line: dict[str, Any]) -> bytes:
    """JSON; of a text with half a character (a file name may hold one) what can be written."""
    try:
        return msgspec.json.encode(line)
    except UnicodeEncodeError:
        return json.dumps(line, default=str).encode()


def _rotate(folder: int, name: str) -> None:
    """The file becomes number 1, and each older one the next; the oldest goes."""
    names = [name, *(f"{name}.{number}" for number in range(1, KEPT + 1))]
    for older, newer in reversed(list(pairwise(names))):
        with contextlib.suppress(FileNotFoundError):
            os.rename(older, newer, src_dir_fd=folder, dst_dir_fd=folder)
