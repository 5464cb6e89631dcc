"""What stands in a secret's place."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re

TAKEN = "[taken out]"


def instead(secret: str) -> str:
    """The mark, and as many line ends as were taken out: a text keeps its lines."""
    return TAKEN + "\n" * secret.count("\n")


def without_value(found: re.Match[str]) -> str:
    """Of a match of ``before``, ``quote`` and ``value`` all but the value; a variable's name is no value."""
    return found[0] if found["value"].startswith(("[taken", "$")) else closed(found)


def closed(found: re.Match[str]) -> str:
    """The mark for the value, behind the quote that opens it."""
    quote = found["quote"] if found.start("quote") >= found.end("before") else ""
    return found["before"] + quote + TAKEN
