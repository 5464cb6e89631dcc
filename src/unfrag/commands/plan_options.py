"""The options of `unfrag plan`, and which of them do not go together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unfrag.commands.numbers import count, share, tokens
from unfrag.commands.options import add_json

if TYPE_CHECKING:
    import argparse


def prepare(parser: argparse.ArgumentParser) -> None:
    from unfrag.plan.manifests import KINDS

    parser.add_argument(
        "--config",
        required=True,
        metavar="MODEL",
        help="the model's config.json (partial ones too), its folder, or its id on the hub",
    )
    parser.add_argument("--gpu", metavar="NAME", help='a card\'s name, such as "H100", "RTX 4090 D" or "4x H100"')
    parser.add_argument("--gpu-memory", type=float, metavar="GIB", help="of one card, when its name is not known")
    parser.add_argument("--gpu-count", type=count, metavar="N", help="how many (default: 1, or what --gpu says)")
    for flag, what in (("tp", "tensor"), ("pp", "pipeline"), ("dp", "data"), ("dcp", "decode context")):
        parser.add_argument(
            f"--{flag}", type=count, metavar="N", help=f"{what} parallel size (default: what holds most)"
        )
    parser.add_argument("--ep", action="store_true", help="expert parallel: each card holds whole experts")
    parser.add_argument("--dtype", metavar="DTYPE", help="of the weights (default: the config's)")
    parser.add_argument("--quantization", metavar="METHOD", help="of the weights, such as fp8 (default: the config's)")
    parser.add_argument("--kv-cache-dtype", metavar="DTYPE", help="of keys and values (default: the model's)")
    parser.add_argument(
        "--gpu-memory-utilization", type=share, metavar="SHARE", help="of a card that vLLM may take (default: vLLM's)"
    )
    for flag, what in (("max-model-len", "the longest request"), ("max-num-batched-tokens", "of one step")):
        parser.add_argument(f"--{flag}", type=tokens, metavar="TOKENS", help=f"{what}: 131072, 128k or 128K")
    for flag, what in (("max-num-seqs", "requests that run at once"), ("block-size", "tokens of a KV block")):
        parser.add_argument(f"--{flag}", type=count, metavar="N", help=what)
    parser.add_argument("--enforce-eager", action="store_true", help="without CUDA graphs, and without their memory")
    parser.add_argument(
        "--speculative-tokens", type=count, metavar="N", help="draft N tokens with the model's own MTP layer"
    )
    parser.add_argument("--engine-version", metavar="VERSION", help="of vLLM (default: the newest that is known)")
    parser.add_argument("--allow-kv-quantization", action="store_true", help="FP8 keys and values may be chosen")
    parser.add_argument("--formula", action="store_true", help="do not ask the installed vLLM")
    parser.add_argument("--model", metavar="NAME", help="its name for the command line (default: the config's folder)")
    parser.add_argument("--explain", action="store_true", help="each flag with its cost, and what was left alone")
    parser.add_argument("--as", dest="manifest", choices=KINDS, help="print the plan as this, and nothing else")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the picture of the cards there")
    add_json(parser)
    _prepare_workload(parser.add_argument_group("what is asked of the server"))
    _prepare_replay(parser.add_argument_group("replay of a trace through the plan's pool"))


def _prepare_workload(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--prompt-tokens", type=tokens, metavar="N", help="of a typical request")
    group.add_argument("--output-tokens", type=tokens, metavar="N", help="of a typical request")
    group.add_argument("--longest-tokens", type=tokens, metavar="N", help="prompt and output of the longest request")
    group.add_argument("--concurrency", type=count, metavar="N", help="requests at a time that must fit")
    group.add_argument(
        "--shared-prefix", type=share, metavar="SHARE", help="share of a prompt that other requests begin with too"
    )
    group.add_argument("--tpot-limit-ms", type=float, metavar="MS", help="plans whose bandwidth forbids it come last")
    group.add_argument("--bench", type=Path, metavar="FILE", help="a result of unfrag bench, for what a request holds")
    group.add_argument("--url", metavar="URL", help="a running server: what it has reserved and does not use")


def _prepare_replay(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--trace", type=Path, metavar="FILE", help="a request trace (Mooncake's JSONL); a workload, too")
    group.add_argument(
        "--instances", type=count, metavar="N", default=1, help="servers that share the trace (default: %(default)s)"
    )
    group.add_argument(
        "--route",
        choices=("prefix", "round-robin"),
        default="prefix",
        help="how requests are shared out (default: %(default)s)",
    )
    group.add_argument(
        "--prefill-rate", type=float, metavar="N", default=20_000.0, help="prompt tokens a second (default: 20000)"
    )
    group.add_argument("--tpot-ms", type=float, metavar="MS", default=30.0, help="of one token (default: 30)")


def check(args: argparse.Namespace) -> None:
    """Flags that do not go together; and how many cards there are."""
    from math import isfinite

    from unfrag.errors import UsageError
    from unfrag.plan import cards

    if (args.model or "").startswith("-"):
        raise UsageError(f"--model {args.model[:60]!r} would read as a flag")
    if args.manifest and args.json:
        raise UsageError("--as prints a manifest and --json prints JSON; give one")
    if args.instances > 1 and not args.trace:
        raise UsageError("--instances shares out a trace; give --trace")
    if args.instances > 1024:
        raise UsageError("--instances: at most 1024 servers")
    args.gpu, counted = cards.counted(args.gpu) if args.gpu else (args.gpu, None)
    if counted is not None and args.gpu_count not in (None, counted):
        raise UsageError(f"--gpu says {counted} cards and --gpu-count {args.gpu_count}; give one")
    args.gpu_count = args.gpu_count or counted or 1
    if args.gpu_count > 4096:
        raise UsageError("--gpu-count: at most 4096 cards")
    for name in ("tpot_limit_ms", "prefill_rate", "tpot_ms"):
        value = getattr(args, name)
        if value is not None and not (isfinite(value) and value > 0):
            raise UsageError(f"--{name.replace('_', '-')} is a number above zero")
    if args.trace and args.bench:
        raise UsageError("--trace and --bench both say what is asked of the server; give one")
    if args.output_tokens and not args.prompt_tokens and not args.trace:
        raise UsageError("--output-tokens alone says little; give --prompt-tokens too")
    if args.longest_tokens and args.longest_tokens < (args.prompt_tokens or 0) + (args.output_tokens or 0):
        raise UsageError("--longest-tokens is less than --prompt-tokens and --output-tokens together")
