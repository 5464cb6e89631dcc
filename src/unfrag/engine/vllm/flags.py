"""Prints every flag of the installed vLLM's server, a line each: the data of ``unfrag/vllm_flags.py``."""

from __future__ import annotations

import importlib
from typing import Any

_PARSERS = ("vllm.entrypoints.common.cli_args", "vllm.entrypoints.launchers.cli_args")


def main() -> None:
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = _make_parser()(FlexibleArgumentParser())
    names = {name for action in parser._actions for name in action.option_strings if name.startswith("--")}
    print("\n".join(sorted({name.replace("_", "-") for name in names})))  # noqa: T201


def _make_parser() -> Any:
    """vLLM's function that adds a server's flags to a parser; it has moved.

    Raises:
        ImportError: to nowhere that is known.
    """
    for module in _PARSERS:
        try:
            return importlib.import_module(module).make_arg_parser
        except (ImportError, AttributeError):
            continue
    raise ImportError("make_arg_parser is nowhere that is known")


if __name__ == "__main__":
    main()
