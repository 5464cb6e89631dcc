"""A log that is piped in, as a file: it is read twice, which a pipe cannot be."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from unfrag.errors import UsageError
from unfrag.system.files import spool_file

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST = 1 << 30  # bytes
_STEP = 1 << 20


def spooled() -> Path:
    """A file for this user alone that is gone when the program ends.

    Raises:
        UsageError: nothing is piped in, or it does not end.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("--log - reads stdin: pipe the log in, as in `journalctl -u vllm | unfrag diagnose --log -`")
    path = spool_file()
    try:
        with path.open("wb") as file:
            while block := sys.stdin.buffer.read(_STEP):
                file.write(block)
                if file.tell() > _LARGEST:
                    raise UsageError(f"stdin gives more than {_LARGEST >> 30} GiB; pipe in the last part of the log")
    except OSError as fault:
        raise UsageError(f"--log -: {fault.strerror}") from fault
    return path
