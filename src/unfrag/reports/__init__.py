"""Text and JSON for the same objects. Data goes to stdout, what is said while working to stderr."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console

from unfrag.system.streams import escaped, printable

if TYPE_CHECKING:
    from rich.text import Text

_printed: list[bool] = []
_PIPE_WIDTH = 120  # columns, where nobody says how many there are


class SafeConsole(Console):
    """Prints no control characters: a label or a line of a log may hold what a terminal obeys."""

    def render_str(self, text: str, **more: Any) -> Text:
        return super().render_str(printable(text), **more)


def out() -> Console:
    """Where results go."""
    terminal = sys.stdout.isatty()
    return SafeConsole(highlight=False, soft_wrap=not terminal, width=None if terminal else _PIPE_WIDTH)


def err() -> Console:
    """Where messages and progress go."""
    return SafeConsole(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def print_json(value: object) -> None:
    """Indented JSON on stdout."""
    try:
        encoded = msgspec.json.format(msgspec.json.encode(value), indent=2)
    except (UnicodeEncodeError, OverflowError):  # half a character, or a number beyond 64 bits
        encoded = json.dumps(msgspec.to_builtins(value), indent=2).encode()
    _printed.append(True)
    sys.stdout.buffer.write(escaped(encoded.decode()).encode() + b"\n")
    sys.stdout.flush()


def nothing_printed() -> None:
    """One run of the command begins."""
    _printed.clear()


def printed() -> bool:
    """Has JSON been printed?"""
    return bool(_printed)
