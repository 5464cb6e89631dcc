"""Start vLLM with unfrag's plugin: `vllm serve` and all its flags, or the built-in CPU rig."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unfrag.errors import UsageError
from unfrag.rig.gpu_defaults import RUNNERS

if TYPE_CHECKING:
    import argparse

NAME = "serve"
EXAMPLES = """\
  unfrag serve /models/GLM-4.7-Flash --tensor-parallel-size 4 --port 8000
  unfrag serve --rig --port 8000          a small GLM-4.7-Flash-shaped model on this machine's CPU
  unfrag serve --rig --block-size 32 --kv-cache-dtype fp16
  unfrag serve --rig --model-runner v2 --async-scheduling    as on a GPU, its kernels interpreted: slow
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rig", action="store_true", help="serve the built-in model on the CPU")
    parser.add_argument(
        "--model-runner",
        choices=RUNNERS,
        help="with --rig: vLLM's first model runner, a CPU's own, or the GPUs' second",
    )
    parser.epilog = (
        "--pool contiguous keeps each request's KV blocks adjacent; --compaction on moves blocks together meanwhile; "
        "--enable-expert-cache[=verify|observe] keeps the experts of a prefix that is computed again, with "
        "--expert-cache-bytes 256MiB and --expert-cache-file PATH; "
        "every other argument goes to `vllm serve` as it is"
    )
    parser.allow_abbrev = False
    parser.set_defaults(takes_rest=True)


def run(args: argparse.Namespace) -> int:
    from unfrag.server import serve

    if args.rig:
        from unfrag.rig.serve import serve_rig

        return serve_rig(args.rest, args.model_runner or "v1")
    if args.model_runner is not None:
        raise UsageError("--model-runner goes with --rig; elsewhere VLLM_USE_V2_MODEL_RUNNER=0 or 1 chooses")
    return serve.serve(args.rest)
