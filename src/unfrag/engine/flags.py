"""Prints every flag of the installed vLLM's server, a line each: the data of ``unfrag/vllm_flags.py``."""

from __future__ import annotations


def main() -> None:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = make_arg_parser(FlexibleArgumentParser())
    names = {name for action in parser._actions for name in action.option_strings if name.startswith("--")}
    print("\n".join(sorted({name.replace("_", "-") for name in names})))  # noqa: T201


if __name__ == "__main__":
    main()
