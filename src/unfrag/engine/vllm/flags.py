"""Prints every flag of the installed vLLM's server, a line each, with the values that it can take where they are few.

That is the data of ``unfrag/flags/check.py``: ``--dtype auto|bfloat16|…``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

_PARSERS = ("vllm.entrypoints.common.cli_args", "vllm.entrypoints.launchers.cli_args")


def main() -> None:
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = _make_parser()(FlexibleArgumentParser())
    lines = {
        f"{name.replace('_', '-')} {_choices(action)}".rstrip()
        for action in parser._actions
        for name in action.option_strings
        if name.startswith("--")
    }
    print("\n".join(sorted(lines)))  # noqa: T201


def _choices(action: argparse.Action) -> str:
    return "|".join(map(str, action.choices or ()))


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
