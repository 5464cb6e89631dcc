"""Print a script by which a shell completes verbs, options and files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

NAME = "completion"
SHELLS = ("bash", "zsh", "fish")
EXAMPLES = """\
  source <(unfrag completion bash)
  unfrag completion bash > ~/.local/share/bash-completion/completions/unfrag
  unfrag completion zsh > ~/.zfunc/_unfrag
  unfrag completion fish > ~/.config/fish/completions/unfrag.fish
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="the shell that reads it")


def run(args: argparse.Namespace) -> int:
    import sys

    import shtab

    for action in _actions(args.parser):
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    sys.stdout.write(shtab.complete(args.parser, args.shell) + "\n")
    return 0


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Those of a parser and of its verbs."""
    found = list(parser._actions)
    for action in parser._actions:
        if isinstance(action.choices, dict):
            found += [inner for verb in action.choices.values() for inner in _actions(verb)]
    return found
