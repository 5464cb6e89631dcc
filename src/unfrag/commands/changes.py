"""What the two verbs that change a running server share: ``apply`` makes a change, ``rollback`` takes one back."""

from __future__ import annotations

import dataclasses
import re
import sys
from typing import TYPE_CHECKING

from unfrag.commands.options import add_dry_run, add_json, add_timeout
from unfrag.commands.target import add_place, launcher_named, place

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from unfrag.apply.history import Kept
    from unfrag.apply.program import Program
    from unfrag.apply.unfinished import Ended, Left


def add_change_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the server is, how long it may take, and how much is to be done."""
    add_place(parser, required=True)
    add_timeout(parser)
    add_dry_run(parser, "what would change")
    add_json(parser)


def program_named(args: argparse.Namespace) -> Program:
    """By the arguments; nothing is asked of it yet. Raises UsageError."""
    from unfrag.apply.program import Program

    return Program(launcher_named(args), args.timeout)


def list_history(args: argparse.Namespace) -> int:
    """The changes of one program, oldest first. Always 0."""
    from unfrag.apply.history import History
    from unfrag.redaction import redact
    from unfrag.reports import err, out, print_json

    now = launcher_named(args).read()
    history = History()
    mine = history.of(now.path, now.program)
    if args.json:
        print_json({"schema_version": 1, "changes": [without_keys(kept) for kept in mine]})
        return 0
    for kept in mine:
        asked = " ".join(words(kept))
        line = f"{_when(kept)}  {kept.state:12}  {kept.id}  {redact(asked)}"
        out().print(line.rstrip(), markup=False, soft_wrap=True)
    if not mine:
        out().print(f"no change of {now.program} in {now.path} is on record", markup=False)
    else:
        err().print(
            f"the files from before and after each: {history.folder}", markup=False, style="dim", soft_wrap=True
        )
    return 0


def _when(kept: Kept) -> str:
    """The date and time that its name begins with, in UTC."""
    found = re.match(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)-", kept.id)
    return "{}-{}-{} {}:{}:{} UTC".format(*found.groups()) if found is not None else "unknown"


def words(kept: Kept) -> list[str]:
    """What a change had asked for, as words of a command line."""
    flags = [word for flag, value in kept.flags.items() for word in (flag, value) if word is not None]
    return [*flags, *(f"--unset {flag.removeprefix('--')}" for flag in kept.removed)]


def without_keys(kept: Kept) -> Kept:
    """The same for others to see: a value that :func:`redact` would take out is None."""
    import msgspec

    from unfrag.redaction import redact

    flags = {
        flag: value if redact(f"{flag} {value}") == f"{flag} {value}" else None for flag, value in kept.flags.items()
    }
    return msgspec.structs.replace(kept, flags=flags)


def end_unfinished(program: Program) -> Ended | None:
    """A change that a killed unfrag left half way is ended before anything else, and that is said."""
    from unfrag.apply.unfinished import finish, unfinished
    from unfrag.reports import err
    from unfrag.reports.text.progress import waiting

    kept = unfinished(program.launcher.read(), program.history)
    if kept is None:
        return None
    with waiting(f"ending {kept.id}") as progress:
        ended = finish(dataclasses.replace(program, progress=progress))
    if ended is not None:
        err().print(ended.line, markup=False)
    return ended


def tell_unfinished(program: Program) -> Left | None:
    """For a dry run: what would be ended first is only said."""
    from unfrag.apply.unfinished import left
    from unfrag.reports import err

    found = left(program)
    if found is not None:
        err().print(f"first of all: {found.would}", markup=False)
    return found


def would_end(program: Program, found: Left, args: argparse.Namespace) -> int:
    """The end of a dry run where the file itself would be another one first."""
    from unfrag.apply.diff import diff
    from unfrag.reports import err

    spec = program.launcher.read()
    content = found.file(program.history)
    shown = diff(spec.content, spec.content if content is None else content, str(spec.path))
    show(shown, args)
    err().print(
        f"dry run: nothing was changed. What comes after that shows when it is done: unfrag rollback {place(args)}",
        markup=False,
    )
    return report(args, spec.path, "dry run", found.kept.id, shown)


def warn_of_a_start(program: Program) -> None:
    """A server that somebody has stopped is started by both verbs: said beforehand."""
    from unfrag.apply.program import DOWN_ON_PURPOSE
    from unfrag.errors import UnfragError
    from unfrag.reports import err

    try:
        state = program.launcher.status().state
    except UnfragError:  # a dry run goes on; a change asks again, and ends there
        return
    if state in DOWN_ON_PURPOSE:
        name = program.launcher.read().program
        err().print(f"warning: {name} is stopped; it is started to see whether it works, and stays up", markup=False)


def but(program: Program) -> str:
    """What is to be added to "nothing to do": the server does not answer, or was started otherwise; else nothing."""
    from unfrag.errors import UnfragError

    try:
        if not program.is_healthy():
            state = program.launcher.status().state
            return f". But no healthy server answers there, it is {state}: `unfrag diagnose` with its log says why"
    except UnfragError as fault:
        return f"; whether it runs is not known: {fault}"
    other = program.runs_otherwise()
    if not other:
        return ""
    return f". But the server was started otherwise: {'; '.join(other)}. Restart it for what the file says"


def show(diff: str, args: argparse.Namespace) -> None:
    """On standard output, and there before what is said on the other."""
    from unfrag.system.streams import printable

    if diff and not args.json:
        sys.stdout.write(printable(diff) + "\n")
        sys.stdout.flush()


def nothing_to_do(args: argparse.Namespace, program: Program, why: str, change_id: str | None) -> int:
    """0; 1 where the server is not well, or not as its file says."""
    from unfrag.reports import err

    otherwise = but(program)
    err().print(f"{why}; nothing to do{otherwise}", markup=False)
    report(args, program.launcher.read().path, "nothing to do", change_id, "")
    return 1 if otherwise else 0


def report(args: argparse.Namespace, path: Path, state: str, change_id: str | None, diff: str, **more: object) -> int:
    """With ``--json``, what was done, as data, and whatever ``more`` is known. Always 0."""
    from unfrag.reports import print_json

    if args.json:
        print_json({"schema_version": 1, "state": state, "id": change_id, "path": str(path), "diff": diff, **more})
    return 0
