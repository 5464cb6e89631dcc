"""How a server was started: its running process, its supervisor program, or a pasted line."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil

from unfrag.commandline import read_flags
from unfrag.errors import UnfragError
from unfrag.facts import Launch, Unknown
from unfrag.launchers.supervisor import SupervisorProgram

if TYPE_CHECKING:
    from pathlib import Path


def of_text(command: str, source: str) -> Launch | Unknown:
    """A pasted command line."""
    return Launch(command, read_flags(command), source) if command.strip() else Unknown(f"{source} is empty")


def of_supervisor(path: Path, program: str) -> Launch | Unknown:
    """The ``command=`` of a supervisor program: what the server will be started with next."""
    try:
        return of_text(SupervisorProgram(path, program).read().command, str(path))
    except UnfragError as fault:
        return Unknown(str(fault))


def of_server(url: str) -> Launch | Unknown:
    """The process on this machine that listens on the URL's port."""
    parts = urlsplit(url)
    if parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        return Unknown(f"{parts.hostname} is another machine; paste its command into launch.txt")
    try:
        pids = {
            c.pid
            for c in psutil.net_connections("tcp")
            if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == (parts.port or 80) and c.pid
        }
        for pid in sorted(pids):
            words = psutil.Process(pid).cmdline()
            if words:
                return of_text(shlex.join(words), f"process {pid}")
    except psutil.Error as fault:
        return Unknown(f"the process behind {url} cannot be read: {fault}")
    return Unknown(f"no process of this user listens on port {parts.port}")
