"""How help looks: verbs in groups, and lines that end at a word, however narrow the terminal is."""

from __future__ import annotations

import argparse
import re
import shutil
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from unfrag.commands import Command

_NARROWEST = 30
_REMARK = re.compile(r"^(?P<command>\s*+unfrag .*?\S)\s{3,}+(?P<remark>\S.*)")
_HEAD = "unfrag finds, fixes and guards the GPU memory of large-language-model servers."
_EXAMPLES = """\
examples:
  unfrag demo --quick              all of it on this machine's CPU, no GPU needed
  unfrag diagnose                  what is wrong with the server on port 8000
  unfrag serve MODEL --port 8000   vLLM, with its memory in /health
  unfrag bench --label before      measure it; then `unfrag compare` of two
"""
_CODES = (
    "exit codes: 0 healthy or done, 1 findings at or above --fail-on, 2 usage, 3 unreachable or not enough evidence, "
    "4 applied, failed, rolled back, 5 rollback failed, 70 a fault of unfrag itself"
)
_OPTIONS = """\
options:
  -h, --help     show this help; `unfrag VERB --help` shows a verb's own
  --version      which vLLM it knows, and what the one here has
"""


class Formatter(argparse.HelpFormatter):
    """argparse's own, which never breaks a word and keeps examples as lines to paste."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(f"{indent}{line}" for raw in text.splitlines() for line in fitted(raw, width - len(indent)))

    def _split_lines(self, text: str, width: int) -> list[str]:
        return _wrapped(" ".join(text.split()), width) or [""]


def overview(groups: Mapping[str, Iterable[Command]]) -> str:
    """What `unfrag --help` prints."""
    width = shutil.get_terminal_size().columns - 2
    lines = ["usage: unfrag VERB [options]", "", *_wrapped(_HEAD, width)]
    for title, commands in groups.items():
        lines += ["", f"{title}:"]
        for command in commands:
            lines += _wrapped(f"{command.NAME:11}{summary(command)}", width, "  ", " " * 13)
    for block in (_EXAMPLES, _OPTIONS):
        lines += ["", *(line for raw in block.splitlines() for line in fitted(raw, width))]
    return "\n".join([*lines, "", *_wrapped(_CODES, width, "", "  ")]) + "\n"


def summary(command: Command) -> str:
    """The first line of its docstring."""
    assert command.__doc__ is not None
    return command.__doc__.strip().splitlines()[0]


def fitted(line: str, width: int) -> list[str]:
    """One line of an example or of prose as lines that fit; an example stays one command for a shell."""
    if len(line) <= width:
        return [line]
    found = _REMARK.fullmatch(line)
    if found is not None:
        indent = " " * (len(line) - len(line.lstrip()) + 4)
        return [*fitted(found["command"], width), *_wrapped(found["remark"], width, indent, indent)]
    indent = " " * (len(line) - len(line.lstrip()))
    if not line.lstrip().startswith("unfrag "):
        return _wrapped(line.strip(), width, indent, indent)
    *first, last = _wrapped(line.strip(), width - 2, indent, f"{indent}    ")
    return [*(f"{part} \\" for part in first), last]


def _wrapped(text: str, width: int, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        max(width, _NARROWEST),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
