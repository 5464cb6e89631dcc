"""Put two or more bench results side by side: medians, spread over repeats, relative change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unfrag.commands.options import add_json

if TYPE_CHECKING:
    import argparse

NAME = "compare"
EXAMPLES = """\
  unfrag compare before.json after.json
  unfrag compare a.json b.json c.json --json
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "results", nargs="+", type=Path, metavar="RESULT", help="written by `unfrag bench`; the first is the base"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from unfrag.bench.compare import compare
    from unfrag.bench.result import read_result
    from unfrag.bench.verdict import verdicts
    from unfrag.errors import UsageError
    from unfrag.reports import err, out, print_json
    from unfrag.reports.text.comparison import table

    if len(args.results) < 2:
        raise UsageError("compare wants two results or more")
    results = [read_result(path) for path in args.results]
    rows = compare(results)
    found = verdicts(results, rows)
    if args.json:
        print_json(
            {"schema_version": 1, "labels": [result.label for result in results], "rows": rows, "verdicts": found}
        )
        return 0
    out().print(table(results, rows))
    for verdict in found:
        out().print(verdict.sentence, markup=False)
    if len({result.workload for result in results}) > 1:
        err().print("careful: these results are of different workloads:")
        for result in results:
            err().print(f"  {result.label}: {result.workload}", markup=False)
    return 0
