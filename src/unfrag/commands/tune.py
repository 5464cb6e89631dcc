"""Say which flags make a running server's KV cache hold more requests, from the load it carries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unfrag.commands.numbers import count, tokens
from unfrag.commands.target import add_target, url

if TYPE_CHECKING:
    import argparse

    from unfrag.plan.workload import Workload

NAME = "tune"
EXAMPLES = """\
  unfrag tune                                       from the requests that the server has finished
  unfrag tune --bench before.json                   from what `unfrag bench` saw it hold
  unfrag tune --prompt-tokens 3000 --output-tokens 400 --json > tune.json
  unfrag apply --config /etc/supervisor/conf.d/glm47flash.conf --plan tune.json
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    add_target(parser)
    parser.add_argument("--bench", type=Path, metavar="FILE", help="a result of unfrag bench on this server")
    parser.add_argument("--prompt-tokens", type=tokens, help="of a typical request")
    parser.add_argument("--output-tokens", type=tokens, help="of a typical request")
    parser.add_argument("--concurrency", type=count, help="requests at a time that it is known to hold")
    parser.add_argument("--allow-kv-quantization", action="store_true", help="FP8 keys and values may be advised")
    parser.add_argument("--json", action="store_true", help="as `unfrag apply --plan` reads it")


def run(args: argparse.Namespace) -> int:
    from unfrag.doctor import collect
    from unfrag.plan.tune import tune
    from unfrag.reports import out, print_json
    from unfrag.reports.text.tune import render

    found = tune(collect.live(collect.Asked(url(args))), _load(args), args.allow_kv_quantization)
    if args.json:
        print_json(found)
    else:
        render(found, out())
    return 0


def _load(args: argparse.Namespace) -> Workload:
    """Raises UsageError."""
    import msgspec

    from unfrag.errors import UsageError
    from unfrag.plan import workload

    if args.bench and (args.prompt_tokens or args.output_tokens or args.concurrency):
        raise UsageError("--bench says what the requests are; leave the other flags out, or leave out --bench")
    if args.output_tokens and not args.prompt_tokens:
        raise UsageError("--output-tokens alone says little; give --prompt-tokens too")
    if args.bench:
        return workload.of_bench(args.bench)
    return msgspec.structs.replace(
        workload.Workload(), prompt=args.prompt_tokens, output=args.output_tokens, held=args.concurrency
    )
