"""What the guard did and why, a line of JSON each, in a file that does not grow without end."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES, KEPT = 10 << 20, 3


class Audit:
    """Appends; a full or read-only disk stops nobody, and is told in the first line that gets through again."""

    def __init__(self, path: Path, echo: bool = False) -> None:
        self._path, self._echo = path, echo
        self._lost = 0
        self._lock = threading.Lock()

    def write(self, target: str, event: str, **more: Any) -> None:
        """``time`` in UTC, ``target``, ``event``, and what belongs to it."""
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "target": target, "event": event, **more}
        with self._lock:
            if self._lost:
                line["lost_lines"] = self._lost
            text = msgspec.json.encode(line) + b"\n"
            if self._echo:
                with contextlib.suppress(OSError):
                    sys.stdout.buffer.write(text)
                    sys.stdout.flush()
            try:
                self._append(text)
            except OSError as fault:
                if not self._lost:
                    with contextlib.suppress(OSError):
                        sys.stderr.write(f"unfrag guard: {self._path}: {fault.strerror}; it goes on without\n")
                self._lost += 1
            else:
                self._lost = 0

    def _append(self, text: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_size + len(text) > MAX_BYTES:
                for number in range(KEPT - 1, 0, -1):
                    older = self._path.with_name(f"{self._path.name}.{number}")
                    with contextlib.suppress(FileNotFoundError):
                        older.replace(self._path.with_name(f"{self._path.name}.{number + 1}"))
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        with self._path.open("r+b" if self._path.exists() else "xb") as file:
            end = file.seek(0, 2)
            try:
                file.write(text)
                file.flush()
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(end)  # no half line
                raise
