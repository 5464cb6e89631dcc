"""The command ``unfrag``: find the verb, run it, turn errors into one line and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from unfrag import __version__
from unfrag.commands import COMMANDS, GROUPS, Command, manual
from unfrag.errors import UnfragError, UsageError
from unfrag.system import streams
from unfrag.system.sentences import sentences

if TYPE_CHECKING:
    from collections.abc import Iterable

_OF_ALL = ("-h", "--help", "--version")
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
    if not words:
        sys.stderr.write(manual.overview(GROUPS))
        return UsageError.exit_code
    args = argparse.Namespace()
    try:
        _must_be_a_verb(words)
        parser, verbs = _parser()
        _must_be_options(words, verbs)
        args, rest = parser.parse_known_args(words)
        args.rest, args.parser = rest, parser
        if rest and not getattr(args, "takes_rest", False):
            raise UsageError(f"unknown: {' '.join(rest)[:_LONGEST]}; see `unfrag {words[0]} --help`")
        code: int = args.run(args)
    except UnfragError as fault:
        from unfrag.redaction import addresses

        said = addresses.redact(str(fault))
        _complain(said)
        if getattr(args, "json", False) or "--json" in _own(words):
            _print_error(said, fault.exit_code)
        return fault.exit_code
    return code


def _own(words: list[str]) -> list[str]:
    """The words in front of a ``--``: what comes behind it is another program's."""
    return words[: words.index("--")] if "--" in words else words


def _complain(why: str) -> None:
    with contextlib.suppress(OSError):  # nobody is there to be told
        sys.stderr.write(f"unfrag: {streams.printable(why)}\n")


def _must_be_a_verb(words: list[str]) -> None:
    """Raises UsageError: the first word is a verb that there is not, or an option of none."""
    names = [command.NAME for command in COMMANDS]
    if words[0] in names or words[0] in _OF_ALL:
        return
    if words[0].startswith("-"):
        raise UsageError(sentences(f"{words[0][:40]} is no option{_meant(words[0], _OF_ALL)}", "See `unfrag --help`"))
    hint = _meant(words[0], names) or f"; there are {', '.join(names)}"
    raise UsageError(sentences(f"{words[0][:40]!r} is no verb{hint}", "See `unfrag --help`"))


def _must_be_options(words: list[str], verbs: dict[str, argparse.ArgumentParser]) -> None:
    """Raises UsageError: an option that this verb has not; argparse would first miss another one."""
    verb = verbs.get(words[0])
    if verb is None or verb.get_default("takes_rest"):
        return
    known = list(verb._option_string_actions)
    for word in _own(words)[1:]:
        name = word.partition("=")[0]
        if name.startswith("--") and not any(option.startswith(name) for option in known):
            hint = _meant(name, known) or verb.get_default("hint") or ""
            raise UsageError(sentences(f"{name[:40]} is no option of {words[0]}{hint}", f"See `{verb.prog} --help`"))


def _meant(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word[:40], known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


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
        raise UsageError(f"{self.prog.removeprefix('unfrag').strip()}: {said}; see `{self.prog} --help`")


class _Overview(_Parser):
    def format_help(self) -> str:
        return manual.overview(GROUPS)


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Of the whole command, and of each verb."""
    parser = _Overview(prog="unfrag")
    parser.add_argument("--version", action=_Version, help="which vLLM it knows, and what the one here has")
    verbs = parser.add_subparsers(dest="verb", required=True, prog="unfrag", parser_class=_Parser)
    return parser, {command.NAME: _add(verbs, command) for command in COMMANDS}


class _Version(argparse.Action):
    """Prints and ends, like argparse's own, but looks for vLLM only when it is asked."""

    def __init__(self, option_strings: list[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from unfrag.flags.vllm_version import lines

        sys.stdout.write("\n".join((f"unfrag {__version__}", *lines())) + "\n")
        parser.exit()


def _add(verbs: argparse._SubParsersAction[_Parser], command: Command) -> argparse.ArgumentParser:
    said = manual.summary(command)
    verb = verbs.add_parser(
        command.NAME,
        help=said,
        description=f"{said}\n\nexamples:\n{command.EXAMPLES}",
        formatter_class=manual.Formatter,
    )
    command.prepare(verb)
    verb.set_defaults(run=command.run)
    return verb
