"""Explain a finding: what it means, when it is harmless, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unfrag.commands.options import add_json

if TYPE_CHECKING:
    import argparse

NAME = "explain"
EXAMPLES = """\
  unfrag explain UF003
  unfrag explain allocator_fragmentation
  unfrag explain            # lists all
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("finding", nargs="?", help="an id (UF003) or a cause (allocator_fragmentation)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from rich.markdown import Markdown

    from unfrag.doctor.pages import page
    from unfrag.doctor.rules import RULES
    from unfrag.errors import UsageError
    from unfrag.reports import out, print_json

    if args.finding is None:
        if args.json:
            print_json({"schema_version": 1, "rules": [{"id": r.ID, "cause": r.CAUSE} for r in RULES]})
        else:
            for rule in RULES:
                out().print(f"{rule.ID}  {rule.CAUSE:28} {(rule.__doc__ or '').strip().splitlines()[0]}")
        return 0
    wanted = args.finding.strip().lower()
    found = next((r for r in RULES if wanted in (r.ID.lower(), r.CAUSE)), None)
    if found is None:
        raise UsageError(f"no finding is called {args.finding!r}; `unfrag explain` lists them")
    text = page(found.CAUSE)
    if args.json:
        print_json({"schema_version": 1, "id": found.ID, "cause": found.CAUSE, "page": text})
    else:
        out().print(Markdown(text), soft_wrap=False)  # soft, Rich cuts the items of a list
    return 0
