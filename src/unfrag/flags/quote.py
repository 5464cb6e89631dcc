"""What a file that starts a server expands, doubled so that it stands for itself."""

from __future__ import annotations


def for_supervisor(text: str) -> str:
    """``%`` starts an expansion there."""
    return text.replace("%", "%%")


def for_systemd(text: str) -> str:
    """``%`` is a specifier and ``$`` a variable (systemd.service, COMMAND LINES)."""
    return text.replace("%", "%%").replace("$", "$$")


def for_compose(text: str) -> str:
    """``$`` is a variable."""
    return text.replace("$", "$$")
