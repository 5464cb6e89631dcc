"""Measure a server: first tokens, throughput, KV memory and the maximum concurrency, under real load."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from unfrag.commands.numbers import count, seconds
from unfrag.commands.options import add_json, add_out
from unfrag.commands.target import add_target, url

if TYPE_CHECKING:
    import argparse

NAME = "bench"
EXAMPLES = """\
  unfrag bench --label before --out before.json
  unfrag bench --prompts 100 --mean-tokens 3200 --in-flight 24 --repeats 3
  unfrag bench --jsonl questions.jsonl --no-search
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    add_target(parser)
    parser.add_argument("--label", metavar="NAME", default="bench", help="name of this result (default: %(default)s)")
    add_out(parser, "unfrag-bench-LABEL.json")
    parser.add_argument(
        "--jsonl", type=Path, metavar="FILE", help='own prompts, one {"prompt": …} a line, instead of generated ones'
    )
    parser.add_argument(
        "--prompts", type=count, metavar="N", default=100, help="how many of them (default: %(default)s)"
    )
    parser.add_argument(
        "--mean-tokens", type=count, metavar="N", default=3200, help="of a generated prompt (default: %(default)s)"
    )
    parser.add_argument(
        "--output-tokens", type=count, metavar="N", default=64, help="per request (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", default=0, help="of the generated prompts (default: %(default)s)"
    )
    parser.add_argument(
        "--in-flight", type=count, metavar="N", default=24, help="requests at a time (default: %(default)s)"
    )
    parser.add_argument("--repeats", type=count, metavar="N", default=3, help="passes over them (default: %(default)s)")
    parser.add_argument("--no-search", action="store_true", help="skip the search for the maximum concurrency")
    parser.add_argument(
        "--ttft-limit",
        type=seconds,
        metavar="SECONDS",
        default=4.0,
        help="that the P95 of first tokens may reach in the search (default: 4)",
    )
    parser.add_argument(
        "--ceiling", type=count, metavar="N", default=256, help="the search goes no higher (default: %(default)s)"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from functools import partial

    from unfrag.bench import run as bench
    from unfrag.bench.compare import compare
    from unfrag.bench.load import LoadGenerator
    from unfrag.bench.workload import generate, load_jsonl
    from unfrag.errors import NotEnoughEvidence
    from unfrag.facts.values import Unknown
    from unfrag.reports import err, out, print_json
    from unfrag.reports.text.comparison import table
    from unfrag.reports.text.progress import measuring
    from unfrag.server.client import Server, other_scheme
    from unfrag.system.files import must_be_writable

    path = args.out or Path(f"unfrag-bench-{args.label.replace('/', '-')}.json")
    must_be_writable(path)
    workload = load_jsonl(args.jsonl, args.output_tokens) if args.jsonl else None
    address = url(args)
    with Server(address) as server:
        model, _ = server.model()
        if isinstance(model, Unknown):
            raise NotEnoughEvidence(f"{address}: {model.why}{other_scheme(address) or '; is the server up?'}")
        workload = workload or generate(
            partial(server.tokens, model),
            prompts=args.prompts,
            mean_tokens=args.mean_tokens,
            output_tokens=args.output_tokens,
            seed=args.seed,
        )
    plan = bench.BenchPlan(
        in_flight=args.in_flight,
        repeats=args.repeats,
        searches=0 if args.no_search else 1,
        ttft_limit=args.ttft_limit,
        ceiling=args.ceiling,
    )
    with LoadGenerator(address, model, os.environ.get("OPENAI_API_KEY")) as load, measuring() as (say, tell):
        result = bench.bench(address, load, workload, plan, args.label, say, tell)
    if args.json:
        print_json(result)
    else:
        out().print(table([result], compare([result])))
    for line in sorted({line for repeat in result.repeats for line in repeat.errors}):
        err().print(f"failed: {line}", markup=False)
    result.write(path)
    err().print(f"written to {path}; next: `unfrag compare {path} OTHER.json`", markup=False)
    return 1 if any(repeat.failed for repeat in result.repeats) else 0
