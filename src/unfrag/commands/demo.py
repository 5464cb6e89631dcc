"""The whole thing on this machine's CPU: diagnose, apply and measure three configurations, and print the table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unfrag.commands.options import add_json, add_out

if TYPE_CHECKING:
    import argparse

NAME = "demo"
EXAMPLES = """\
  unfrag demo --quick       under 5 minutes
  unfrag demo               under 15 minutes: three repeats, with their spread
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="one repeat, 40 prompts")
    add_out(parser, "unfrag-demo.json")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    import importlib.util

    import msgspec

    from unfrag.bench.compare import compare
    from unfrag.errors import UsageError
    from unfrag.reports import err, out, print_json
    from unfrag.reports.text.comparison import table
    from unfrag.reports.text.progress import waiting
    from unfrag.system.files import must_be_writable, write_atomically

    missing = [name for name in ("vllm", "supervisor", "guidellm") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"the demo needs {', '.join(missing)}: pip install 'unfrag[cpu,bench]', or `make demo` in a clone"
        )
    path = args.out or Path("unfrag-demo.json")
    must_be_writable(path)
    from unfrag.rig.demo import FULL, QUICK, run_demo

    with waiting("demo") as progress:
        demo = run_demo(QUICK if args.quick else FULL, err().print, progress)
    results = [configuration.result for configuration in demo.configurations]
    write_atomically(path, msgspec.json.format(msgspec.json.encode(demo), indent=1))
    if args.json:
        print_json(demo)
    else:
        out().print(table(results, compare(results)))
    err().print(f"every sample is in {path}. On your own server: `unfrag diagnose --url …`, then `unfrag bench`")
    return 1 if any(repeat.failed for result in results for repeat in result.repeats) else 0
