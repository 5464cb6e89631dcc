"""Supervisor files: a program's ``command=`` byte for byte, its options, and the files that a main file includes."""

from __future__ import annotations

import glob
import os
import platform
import re
import shlex
from configparser import RawConfigParser
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from configupdater import ConfigUpdater, Section

from unfrag.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LARGEST = 1 << 20  # bytes of a file: supervisord reads small ones, and so large a one is none of its own
_EXPANSION = re.compile(r"%%|%\([^()%\s]{1,200}\)[#0 +-]{0,5}\d{0,3}(?:\.\d{1,3})?[diouxXeEfFgGcrsa]")


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


@lru_cache(8)  # a verb asks for it several times
def find_command(text: str, program: str) -> CommandPlace:
    """Find ``command`` under ``[program:NAME]``.

    Raises:
        UsageError: the text is not INI, has no such program, the program has no command, or either occurs twice:
            supervisord takes the last, and which one was meant only its owner knows.
    """
    try:
        ini = ConfigUpdater(strict=False, allow_no_value=True).read_string(text)
    except Exception as fault:
        raise UsageError(f"not a supervisor configuration: {str(fault).splitlines()[0]}") from fault
    offset = 0
    programs, found = [], []
    for block in ini.iter_blocks():
        if isinstance(block, Section):
            if block.name.startswith("program:"):
                programs.append(block.name.removeprefix("program:"))
            if block.name == f"program:{program}":
                found.append((block, offset))
        offset += len(str(block))
    if len(found) > 1:
        raise UsageError(f"[program:{program}] occurs {len(found)} times: supervisord joins them; make one of them")
    if found:
        return _in_section(text, *found[0])
    known = f"it has: {', '.join(programs)}" if programs else "it has no program at all"
    raise UsageError(f"no [program:{program}] in this file; {known}. Name the right one with --program")


def _in_section(text: str, section: Section, offset: int) -> CommandPlace:
    offset += len(str(section)) - sum(len(str(block)) for block in section.iter_blocks())
    found = []
    for block in section.iter_blocks():
        raw = str(block)
        if getattr(block, "key", None) == "command":
            head = min(i for i in (raw.find("="), raw.find(":")) if i >= 0) + 1
            head += len(raw[head:]) - len(raw[head:].lstrip(" \t"))
            body = raw.rstrip()
            found.append(CommandPlace(text, offset + head, offset + len(body)))
        offset += len(raw)
    if len(found) > 1:
        raise UsageError(
            f"[{section.name}] has {len(found)} command= lines, of which supervisord takes the last: keep one"
        )
    if not found:
        raise UsageError(f"[{section.name}] has no command= line")
    return found[0]


def options(text: str, section: str) -> dict[str, str]:
    """A section's options as supervisord reads them, expansions left as they are; none where it cannot be read."""
    ini = _parsed(text)
    try:
        return {key: value or "" for key, value in ini.items(section)} if ini is not None else {}
    except Exception:
        return {}


def program_commands(text: str) -> dict[str, str]:
    """The command of each ``[program:NAME]``, by name."""
    ini = _parsed(text)
    names = [] if ini is None else [section for section in ini.sections() if section.startswith("program:")]
    return {name.removeprefix("program:"): options(text, name).get("command", "") for name in names}


@lru_cache(8)
def _parsed(text: str) -> RawConfigParser | None:
    ini = RawConfigParser(strict=False, inline_comment_prefixes=(";", "#"), allow_no_value=True)
    try:
        ini.read_string(text)
    except Exception:
        return None
    return ini


def must_be_startable(text: str, program: str) -> None:
    """Raises UsageError: supervisord cannot expand the program's command, or cannot split it into words."""
    command = options(text, f"program:{program}").get("command", "")
    rest = _EXPANSION.sub("", command)
    if "%" in rest:
        near = rest[rest.index("%") :][:20].split()[0]
        raise UsageError(
            f"supervisord cannot expand {near!r} in the command: write %% for a percent sign. Nothing was changed"
        )
    try:
        shlex.split(command)
    except ValueError as fault:
        raise UsageError(f"supervisord cannot read the command: {fault}. Nothing was changed") from fault


def included(path: Path, text: str) -> list[str]:
    """The files that ``[include] files=`` of a main file names, in their order."""
    here = str(path.resolve().parent)
    patterns = expanded(options(text, "include").get("files", ""), path)
    return [file for pattern in patterns.split() for file in sorted(glob.glob(os.path.join(here, pattern)))]


def expanded(value: str, path: Path, program: str | None = None) -> str:
    """A value of this file with what is known filled in: ``%(here)s``, the host, the environment, a program's name."""
    known = {"here": str(path.resolve().parent), "host_node_name": platform.node()}
    known |= {f"ENV_{name}": value for name, value in os.environ.items()}
    if program is not None:
        known |= {"program_name": program, "group_name": program, "process_num": "0"}
    return re.sub(r"%\((\w+)\)[sd]", lambda found: known.get(found[1], found[0]), value)
