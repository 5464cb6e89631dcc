"""The ``command=`` of a supervisor program inside its INI file, byte for byte."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from configupdater import ConfigUpdater, Section

from unfrag.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class CommandPlace:
    """A whole INI text, and where the value of one program's command stands in it."""

    text: str
    start: int
    end: int

    @property
    def command(self) -> str:
        return self.text[self.start : self.end]

    def edited(self, edit: Callable[[str], str]) -> str:
        """The whole text with the command run through ``edit``."""
        return self.text[: self.start] + edit(self.command) + self.text[self.end :]


def find_command(text: str, program: str) -> CommandPlace:
    """Find ``command`` under ``[program:NAME]``.

    Raises:
        UsageError: the text is not INI, has no such program, or the program has no command.
    """
    try:
        ini = ConfigUpdater(strict=False, empty_lines_in_values=False, allow_no_value=True).read_string(text)
    except Exception as fault:
        raise UsageError(f"not a supervisor configuration: {str(fault).splitlines()[0]}") from fault
    offset = 0
    programs = []
    for block in ini.iter_blocks():
        if isinstance(block, Section):
            if block.name.startswith("program:"):
                programs.append(block.name.removeprefix("program:"))
            if block.name == f"program:{program}":
                return _in_section(text, block, offset)
        offset += len(str(block))
    known = f"it has: {', '.join(programs)}" if programs else "it has no program at all"
    raise UsageError(f"no [program:{program}] in this file; {known}. Name the right one with --program")


def _in_section(text: str, section: Section, offset: int) -> CommandPlace:
    offset += len(str(section)) - sum(len(str(block)) for block in section.iter_blocks())
    for block in section.iter_blocks():
        raw = str(block)
        if getattr(block, "key", None) == "command":
            head = min(i for i in (raw.find("="), raw.find(":")) if i >= 0) + 1
            head += len(raw[head:]) - len(raw[head:].lstrip(" \t"))
            body = raw.rstrip("\r\n")
            return CommandPlace(text, offset + head, offset + len(body))
        offset += len(raw)
    raise UsageError(f"[{section.name}] has no command= line")
