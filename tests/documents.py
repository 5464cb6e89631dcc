"""The documents that are made from the code. ``python -m tests.documents`` writes them; a test holds them to it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from unfrag import cli
from unfrag.engine.experts.metrics import ExpertMetrics
from unfrag.guard.metrics import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parent.parent / "docs"
_METRICS = """\
# Metrics of unfrag

Beside vLLM's own. `unfrag_expert_*` stand in a server's `/metrics` while its expert-route cache is on,
`unfrag_guard_*` in the guard's, with `--metrics-port`.

| metric | kind | what it is |
|---|---|---|"""
_COMMAND_LINE = """\
# The command line

Made from the parsers by `python -m tests.documents`.
"""


def metrics() -> str:
    rows = [
        f"| `{metric.name}{'_total' if metric.type == 'counter' else ''}` | {metric.type} | {metric.documentation} |"
        for collector in (ExpertMetrics(), Collector(list))
        for metric in collector.collect()
    ]
    return "\n".join((_METRICS, *rows)) + "\n"


def command_line() -> str:
    return "\n".join((_COMMAND_LINE, *(_verb(name, parser) for name, parser in _verbs())))


def _verb(name: str, parser: argparse.ArgumentParser) -> str:
    examples, _, summary = (parser.description or "").removeprefix("examples:\n").rstrip().rpartition("\n")
    rows = [
        f"| {_called(action)} | {' '.join((action.help or '').split()) % _shown(action)} |"
        for action in parser._actions
        if action.help is not argparse.SUPPRESS and "--help" not in action.option_strings
    ]
    return (
        f"## unfrag {name}\n\n{summary}\n\n```\n{examples.rstrip()}\n```\n\n| | |\n|---|---|\n" + "\n".join(rows) + "\n"
    )


def _called(action: argparse.Action) -> str:
    """``--url URL``, or a place on the line by its name."""
    among = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    value = action.metavar if isinstance(action.metavar, str) else among
    if not action.option_strings:
        return f"`{value}`"
    return ", ".join(f"`{name}`" for name in action.option_strings) + (f" `{value}`" if action.nargs != 0 else "")


def _shown(action: argparse.Action) -> dict[str, object]:
    return {**vars(action), "prog": "unfrag"}


def _verbs() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    _, verbs = cli._parser()
    yield from verbs.items()


PAGES = {"metrics.md": metrics, "cli.md": command_line}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())
