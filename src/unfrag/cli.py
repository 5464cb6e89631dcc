"""The command ``unfrag``: find the verb, run it, turn errors into one line and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import signal
import sys
from typing import NoReturn

from unfrag import __version__
from unfrag.commands import COMMANDS, Command
from unfrag.errors import UnfragError, UsageError
from unfrag.system import streams
from unfrag.system.sentences import sentences

_EXAMPLES = """\
examples:
  unfrag demo --quick                     see the whole thing on this machine's CPU, no GPU needed
  unfrag diagnose                         what is wrong with the server on port 8000
  unfrag serve MODEL --port 8000          vLLM with /health memory_stats and /flush_cache
  unfrag bench --label before             measure it; `unfrag compare` two results

exit codes: 0 healthy or done, 1 findings, 2 usage, 3 unreachable or not enough evidence,
            4 applied, failed, rolled back, 5 rollback failed, 70 a fault of unfrag itself
"""

_LONGEST = 300  # characters of what is wrong with an argument


def main(argv: list[str] | None = None) -> int:
    """Run one verb; its exit code."""
    words = sys.argv[1:] if argv is None else argv
    signal.signal(signal.SIGTERM, _end_in_order)
    streams.make_whole()
    if (reports := sys.modules.get("unfrag.reports")) is not None:
        reports.nothing_printed()
    try:
        try:
            return _code(words)
        finally:
            sys.stdout.flush()  # a disk that is full shows here, also behind --help, and not at Python's end
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130
    except BrokenPipeError:
        streams.leave_stdout()
        return 0
    except Exception as fault:
        if isinstance(fault, OSError) and (why := streams.why_stdout_fails(fault)) is not None:
            streams.leave_stdout()
            _complain(f"cannot write to standard output: {why}")
            return 1
        from unfrag.system import faults

        _complain(faults.keep())
        return faults.EXIT_CODE


def _code(words: list[str]) -> int:
    args = argparse.Namespace()
    try:
        _must_be_a_verb(words)
        args, rest = _parser().parse_known_args(words)
        args.rest = rest
        if rest and not getattr(args, "takes_rest", False):
            raise UsageError(f"unknown: {' '.join(rest)[:_LONGEST]}; see `unfrag {words[0]} --help`")
        code: int = args.run(args)
    except UnfragError as fault:
        from unfrag.redaction import addresses

        said = addresses.redact(str(fault))
        _complain(said)
        if getattr(args, "json", False):
            _print_error(said, fault.exit_code)
        return fault.exit_code
    return code


def _complain(why: str) -> None:
    with contextlib.suppress(OSError):  # nobody is there to be told
        sys.stderr.write(f"unfrag: {streams.printable(why)}\n")


def _must_be_a_verb(words: list[str]) -> None:
    """Raises UsageError: the first word is a verb that there is not."""
    names = [command.NAME for command in COMMANDS]
    if words and not words[0].startswith("-") and words[0] not in names:
        near = difflib.get_close_matches(words[0][:40], names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
        raise UsageError(sentences(f"{words[0][:40]!r} is no verb; {hint}", "See `unfrag --help`"))


def _print_error(why: str, code: int) -> None:
    """For a program that asked for JSON: the error as JSON, where nothing was printed before it."""
    from unfrag import reports

    if not reports.printed():
        reports.print_json({"schema_version": 1, "error": why, "exit_code": code})


def _end_in_order(*_: object) -> None:
    """SIGTERM unwinds like Ctrl-C, so that everything that was started is stopped."""
    raise SystemExit(143)


class _Parser(argparse.ArgumentParser):
    """Tells what is wrong in one line, and not how every verb is called."""

    def error(self, message: str) -> NoReturn:
        said = streams.printable(" ".join(message.split())[:_LONGEST])
        self.exit(2, f"{self.prog}: {said}; see `{self.prog} --help`\n")


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _Parser(
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
        from unfrag.flags.vllm_version import lines

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
