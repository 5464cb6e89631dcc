"""Explain a finding: what it means, when it is harmless, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unfrag.commands.options import add_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

NAME = "explain"
EXAMPLES = """\
  unfrag explain UF003
  unfrag explain allocator_fragmentation
  unfrag explain            # lists all
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("finding", nargs="?", help="an id (UF003) or a cause (allocator_fragmentation)")
    add_json(parser)
    parser.add_argument("--lang", choices=("en", "zh"), help="of the page; the locale's without it")


def run(args: argparse.Namespace) -> int:
    from unfrag.doctor.rules import RULES
    from unfrag.doctor.words.language import language
    from unfrag.doctor.words.pages import head, page
    from unfrag.errors import UsageError
    from unfrag.reports import out, print_json
    from unfrag.reports.text.page import render

    spoken = "en" if args.json else language(args.lang)
    heads = {rule.CAUSE: head(rule.CAUSE, spoken) for rule in RULES}
    heads = dict(sorted(heads.items(), key=lambda pair: pair[1].id))
    if args.finding is None:
        if args.json:
            print_json({"schema_version": 1, "rules": [{"id": h.id, "cause": cause} for cause, h in heads.items()]})
        else:
            for cause, words in heads.items():
                out().print(f"{words.id}  {cause:28} {words.sentence}")
        return 0
    wanted = args.finding.strip().lower()
    found = next((cause for cause, words in heads.items() if wanted in (words.id.lower(), cause)), None)
    if found is None:
        near = _near(wanted, heads)
        raise UsageError(f"no finding is called {args.finding!r}; {near or '`unfrag explain` lists them'}")
    text = page(found, spoken)
    if args.json:
        print_json({"schema_version": 1, "id": heads[found].id, "cause": found, "page": text})
    else:
        render(text, out())
    return 0


def _near(wanted: str, heads: Iterable[str]) -> str:
    """What it may have meant: causes with the word in their name, or nearly of that name."""
    import difflib

    causes = list(heads)
    found = [cause for cause in causes if wanted and wanted in cause] or difflib.get_close_matches(wanted, causes)
    return f"did you mean {', '.join(found[:4])}?" if found else ""
