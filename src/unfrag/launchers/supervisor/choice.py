"""Which program of a supervisor file is meant, where nobody says it."""

from __future__ import annotations

from pathlib import Path

from unfrag.errors import UsageError
from unfrag.flags.check import is_vllm_line
from unfrag.launchers.supervisor.ini import LARGEST, included, program_commands
from unfrag.system.files import read_file

USUAL = "glm_vllm"


def programs(path: Path) -> dict[str, str]:
    """The command of each program, by name: of this file, and of those that it includes. Raises UsageError."""
    text = _text(path)
    found = program_commands(text)
    for name in included(path, text):
        found = {**program_commands(_text(Path(name))), **found}
    return found


def only_program(path: Path) -> str | None:
    """The one that starts vLLM, or the only one; None: there are several. The usual name where nothing can be read."""
    try:
        known = programs(path)
    except UsageError:
        return USUAL
    meant = [name for name, command in known.items() if name == USUAL or is_vllm_line(command)]
    meant = meant or list(known) or [USUAL]
    return meant[0] if len(meant) == 1 else None


def _text(path: Path) -> str:
    return read_file(path, LARGEST).decode("utf-8", "surrogateescape")
