"""One verb, one file: parse, call, pick a report, return an exit code.

Modules are imported to show their help, so their heavy imports stand inside ``run``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from unfrag.commands import (
    apply,
    bench,
    capture,
    compare,
    completion,
    demo,
    diagnose,
    explain,
    flush,
    guard,
    plan,
    restart,
    rollback,
    serve,
    tune,
)

if TYPE_CHECKING:
    import argparse


class Command(Protocol):
    """A module of this folder. The first line of its docstring is its help."""

    NAME: str
    EXAMPLES: str
    __doc__: str | None

    def prepare(self, parser: argparse.ArgumentParser) -> None: ...
    def run(self, args: argparse.Namespace) -> int: ...


GROUPS: dict[str, tuple[Command, ...]] = {
    "look": (diagnose, explain, capture),
    "change": (plan, tune, apply, rollback, restart, flush, serve),
    "guard": (guard,),
    "measure": (bench, compare, demo),
    "shell": (completion,),
}
COMMANDS: tuple[Command, ...] = tuple(command for group in GROUPS.values() for command in group)
