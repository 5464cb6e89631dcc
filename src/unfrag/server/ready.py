"""Wait until a server is ready, and know at once when it never will be."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

import httpx

from unfrag.errors import NeverReady
from unfrag.redaction import redact
from unfrag.server.client import Server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_POLL_SECONDS = 0.25
_TAIL_LINES = 8


def wait_ready(
    url: str,
    timeout: float,
    gave_up: Callable[[], str | None],
    last: Callable[[int], list[str]] = lambda lines: [],
    progress: Callable[[str], None] = lambda line: None,
) -> float:
    """Poll ``/health`` until it answers 200; seconds that took.

    Args:
        url: of the server, without a path.
        timeout: seconds.
        gave_up: says why the server will never be ready, or None; asked at every poll.
        last: the last lines of the server's log; one is shown while waiting, some on failure.
        progress: called with one line every second.

    Raises:
        NeverReady: with the reason and the log's last lines.
    """
    started, shown = time.monotonic(), -1
    with Server(url) as server:
        while True:
            seconds = time.monotonic() - started
            why = gave_up()
            if why is None and seconds > timeout:
                why = f"not ready after {timeout:.0f} s"
            if why is not None:
                raise NeverReady(f"{url} {why}{_last_words(last(_TAIL_LINES))}")
            try:
                if server.status() == httpx.codes.OK:
                    return seconds
            except httpx.ReadTimeout:
                pass
            if int(seconds) > shown:
                shown = int(seconds)
                progress(f"{shown:3d} s  {redact(''.join(last(1)))[:100]}")
            time.sleep(_POLL_SECONDS)


class End(NamedTuple):
    """Where a log ended: which file it was, and its bytes."""

    inode: int
    size: int


def end_of(log: Path) -> End:
    """Of a log that is not there: its beginning."""
    try:
        now = log.stat()
    except OSError:
        return End(0, 0)
    return End(now.st_ino, now.st_size)


def tail(log: Path | None, lines: int, since: End | None = None) -> list[str]:
    """The last non-empty lines of a log, as text; empty when there is no log.

    Args:
        since: only what was written after that; a log that was exchanged or cut since is all new.
    """
    if log is None or not log.is_file():
        return []
    with log.open("rb") as stream:
        now = os.fstat(stream.fileno())
        is_same = since is not None and now.st_ino == since.inode and now.st_size >= since.size
        stream.seek(max(since.size if since is not None and is_same else 0, now.st_size - 64 * 1024))
        text = stream.read().decode("utf-8", "replace")
    return [line for line in text.splitlines() if line.strip()][-lines:]


def _last_words(last: list[str]) -> str:
    return "; the last lines of its log:\n  " + "\n  ".join(redact(line)[:200] for line in last) if last else ""
