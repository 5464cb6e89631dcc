"""The command ``unfrag``: find the verb, run it, turn errors into one line and an exit code."""

from __future__ import annotations

import argparse
import difflib
import io
import os
import signal
import sys

from unfrag import __version__
from unfrag.commands import COMMANDS, Command
from unfrag.errors import UnfragError, UsageError

_EXAMPLES = """\
examples:
  unfrag demo --quick                     see the whole thing on this machine's CPU, no GPU needed
  unfrag diagnose                         what is wrong with the server on port 8000
  unfrag serve MODEL --port 8000          vLLM with /health memory_stats and /flush_cache
  unfrag bench --label before             measure it; `unfrag compare` two results

exit codes: 0 healthy or done, 1 findings, 2 usage, 3 unreachable or not enough evidence,
            4 applied, failed, rolled back, 5 rollback failed, 70 a fault of unfrag itself
"""


def main(argv: list[str] | None = None) -> int:
    """Run one verb; its exit code."""
    words = sys.argv[1:] if argv is None else argv
    signal.signal(signal.SIGTERM, _end_in_order)
    _write_whatever_there_is()
    args = argparse.Namespace()
    if (reports := sys.modules.get("unfrag.reports")) is not None:
        reports.nothing_printed()
    try:
        _must_be_a_verb(words)
        args, rest = _parser().parse_known_args(words)
        args.rest = rest
        if rest and not getattr(args, "takes_rest", False):
            raise UsageError(f"unknown: {' '.join(rest)}; see `unfrag {words[0]} --help`")
        code: int = args.run(args)
    except UnfragError as fault:
        sys.stderr.write(f"unfrag: {fault}\n")
        if getattr(args, "json", False):
            _print_error(str(fault), fault.exit_code)
        return fault.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("unfrag: interrupted\n")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        from unfrag import faults

        sys.stderr.write(f"unfrag: {faults.keep()}\n")
        return faults.EXIT_CODE
    return code


def _write_whatever_there_is() -> None:
    """A file name or an argument may hold bytes that are no text: they are printed as escapes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _must_be_a_verb(words: list[str]) -> None:
    """Raises UsageError: the first word is a verb that there is not."""
    names = [command.NAME for command in COMMANDS]
    if words and not words[0].startswith("-") and words[0] not in names:
        near = difflib.get_close_matches(words[0][:40], names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
        raise UsageError(f"{words[0][:40]!r} is no verb; {hint} See `unfrag --help`")


def _print_error(why: str, code: int) -> None:
    """For a program that asked for JSON: the error as JSON, where nothing was printed before it."""
    from unfrag import reports

    if not reports.printed():
        reports.print_json({"schema_version": 1, "error": why, "exit_code": code})


def _end_in_order(*_: object) -> None:
    """SIGTERM unwinds like Ctrl-C, so that everything that was started is stopped."""
    raise SystemExit(143)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="unfrag",
        usage="unfrag VERB [options]",
        description=_EXAMPLES,
        epilog="unfrag finds, fixes and guards the GPU memory of large-language-model servers.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, help="which vLLM it knows, and what the one here has")
    verbs = parser.add_subparsers(title="verbs", dest="verb", metavar="VERB", required=True, prog="unfrag")
    for command in COMMANDS:
        _add(verbs, command)
    return parser


class _Version(argparse.Action):
    """Prints and ends, like argparse's own, but looks for vLLM only when it is asked."""

    def __init__(self, option_strings: list[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from unfrag.vllm_version import lines

        sys.stdout.write("\n".join((f"unfrag {__version__}", *lines())) + "\n")
        parser.exit()


def _add(verbs: argparse._SubParsersAction[argparse.ArgumentParser], command: Command) -> None:
    assert command.__doc__ is not None
    summary = command.__doc__.strip().splitlines()[0]
    verb = verbs.add_parser(
        command.NAME,
        help=summary,
        description=f"examples:\n{command.EXAMPLES}\n{summary}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.prepare(verb)
    verb.set_defaults(run=command.run)
