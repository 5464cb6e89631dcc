"""Standard input, output and error as they are found: closed, full, or gone; and what may be printed on them."""

from __future__ import annotations

import errno
import io
import os
import re
import sys

# Control characters, and marks that turn the direction of a text: a terminal obeys them.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def make_whole() -> None:
    """A stream that is closed is an empty one; what cannot be encoded is written as escapes."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def why_stdout_fails(fault: OSError) -> str | None:
    """Why what was printed cannot be written, such as a full disk; None where the fault is another's.

    What could not be written is tried once more; without a buffer nothing of it is left, so that a line end is.
    """
    try:
        sys.stdout.flush()
        if fault.errno in _FULL:
            sys.stdout.write("\n")
            sys.stdout.flush()
    except OSError as own:
        return own.strerror or str(own)
    return None


def leave_stdout() -> None:
    """What could not be written is dropped, so that Python does not try once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def printable(text: str) -> str:
    """The text with control characters as escapes; lines and tabs stay."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def escaped(encoded: str) -> str:
    """The same JSON without what a terminal obeys: outside of ASCII it stands in texts alone."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", encoded)
