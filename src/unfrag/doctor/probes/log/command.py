"""A log that a command prints, as a file: journalctl's, or a container engine's."""

from __future__ import annotations

import atexit
import signal
import subprocess
from typing import TYPE_CHECKING

from unfrag.facts.values import Unknown
from unfrag.system.files import spool_file
from unfrag.system.session import Session

if TYPE_CHECKING:
    from pathlib import Path

_SECONDS = 60.0


def spooled(command: list[str]) -> Path | Unknown:
    """What it prints, on either stream, in a file for this user alone that is gone when the program ends."""
    path = spool_file()
    try:
        with path.open("wb") as file:
            done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as fault:
        return Unknown(f"{' '.join(command[:2])}: {fault}")
    if done.returncode:
        said = path.read_bytes()[:500].decode("utf-8", "replace").strip().splitlines()
        return Unknown(f"{' '.join(command[:2])}: {said[-1] if said else f'exit {done.returncode}'}")
    return path


def followed(command: list[str]) -> Path | Unknown:
    """The same of a command that does not end: the file grows until the program does."""
    path = spool_file()
    try:
        with path.open("wb") as file:
            session = Session(command, stdout=file, stderr=subprocess.STDOUT)
    except OSError as fault:
        return Unknown(f"{' '.join(command[:2])}: {fault}")
    atexit.register(session.end, signal.SIGTERM, grace=2.0)
    return path
