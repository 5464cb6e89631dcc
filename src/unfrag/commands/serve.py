"""Start vLLM with unfrag's plugin: `vllm serve` and all its flags, or the built-in CPU rig."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

NAME = "serve"
EXAMPLES = """\
  unfrag serve /models/GLM-4.7-Flash --tensor-parallel-size 4 --port 8000
  unfrag serve --rig --port 8000          a small GLM-4.7-Flash-shaped model on this machine's CPU
  unfrag serve --rig --block-size 32 --kv-cache-dtype fp16
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rig", action="store_true", help="serve the built-in model on the CPU")
    parser.epilog = (
        "--pool contiguous keeps each request's KV blocks adjacent; --compaction on moves blocks together meanwhile; "
        "--enable-expert-cache[=verify|observe] keeps the experts of a prefix that is computed again, with "
        "--expert-cache-bytes 256MiB and --expert-cache-file PATH; "
        "every other argument goes to `vllm serve` as it is"
    )
    parser.allow_abbrev = False
    parser.set_defaults(takes_rest=True)


def run(args: argparse.Namespace) -> int:
    from unfrag import serving

    return serving.serve_rig(args.rest) if args.rig else serving.serve(args.rest)
