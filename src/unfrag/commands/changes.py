"""What the two verbs that change a running server share: ``apply`` makes a change, ``rollback`` takes one back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unfrag.commands.launched import add_place, launcher_named
from unfrag.commands.numbers import seconds

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from unfrag.launchers import Launcher
    from unfrag.launchers.history import Kept
    from unfrag.launchers.unfinished import Ended


def add_change_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the server is, how long it may take, and how much is to be done."""
    add_place(parser, required=True)
    parser.add_argument(
        "--timeout", type=seconds, default=600.0, help="seconds to wait for ready (default: %(default)s)"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would change; change nothing")
    parser.add_argument("--json", action="store_true")


def list_history(args: argparse.Namespace) -> int:
    """The changes of one program, oldest first. Always 0."""
    from unfrag.launchers.history import History
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
        out().print(f"{kept.id}  {kept.state:12}  {redact(asked)}".rstrip(), markup=False, soft_wrap=True)
    if not mine:
        out().print(f"no change of {now.program} in {now.path} is on record", markup=False)
    else:
        err().print(
            f"the files from before and after each: {history.folder}", markup=False, style="dim", soft_wrap=True
        )
    return 0


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


def end_unfinished(launcher: Launcher, args: argparse.Namespace) -> Ended | None:
    """A change that a killed unfrag left half way is ended before anything else; with ``--dry-run`` only told."""
    from unfrag.launchers.history import History
    from unfrag.launchers.unfinished import finish, unfinished
    from unfrag.reports import err
    from unfrag.reports.progress import waiting

    left = unfinished(launcher.read(), History())
    if left is None:
        return None
    if args.dry_run:
        err().print(f"{left.id} was cut short: without --dry-run it is ended first", markup=False)
        return None
    with waiting(f"ending {left.id}") as progress:
        ended = finish(launcher, args.timeout, progress)
    if ended is not None:
        err().print(ended.line, markup=False)
    return ended


def report(args: argparse.Namespace, path: Path, state: str, change_id: str | None, diff: str) -> int:
    """With ``--json``, what was done, as data. Always 0."""
    from unfrag.reports import print_json

    if args.json:
        print_json({"schema_version": 1, "state": state, "id": change_id, "path": str(path), "diff": diff})
    return 0
