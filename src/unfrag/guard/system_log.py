"""The machine's syslog, written to directly: the C library's own call never says that nobody takes a line."""

from __future__ import annotations

import errno
import os
import socket
import syslog
import time

from unfrag.system.streams import printable

PLACE = "/dev/log"
_SECONDS = 2.0


def send(text: str, is_critical: bool) -> str | None:
    """Why the line was not taken; None: it was."""
    severity = syslog.LOG_CRIT if is_critical else syslog.LOG_WARNING
    head = f"<{syslog.LOG_DAEMON | severity}>{time.strftime('%b %e %H:%M:%S')} unfrag-guard[{os.getpid()}]"
    try:
        with _connected() as to:
            end = "\0" if to.type == socket.SOCK_STREAM else ""
            to.sendall(f"{head}: {printable(text)}{end}".encode(errors="backslashreplace"))
    except OSError as fault:
        return _why(fault)
    return None


def fault() -> str | None:
    """Why no line would be taken; None: somebody listens."""
    try:
        _connected().close()
    except OSError as fault:
        return _why(fault)
    return None


def _connected() -> socket.socket:
    """Raises OSError. Most programs behind it take datagrams, a few a stream."""
    try:
        return _socket(socket.SOCK_DGRAM)
    except OSError as fault:
        if fault.errno != errno.EPROTOTYPE:
            raise
    return _socket(socket.SOCK_STREAM)


def _socket(kind: socket.SocketKind) -> socket.socket:
    to = socket.socket(socket.AF_UNIX, kind)
    to.settimeout(_SECONDS)
    try:
        to.connect(PLACE)
    except OSError:
        to.close()
        raise
    return to


def _why(fault: OSError) -> str:
    known = {errno.ENOENT: f"there is no {PLACE} here", errno.ECONNREFUSED: f"nobody reads {PLACE}"}
    return known.get(fault.errno or 0) or f"{PLACE}: {fault.strerror or fault}"
