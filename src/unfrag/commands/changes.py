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
    from unfrag.reports import out, print_json

    now = launcher_named(args).read()
    mine = History().of(now.path, now.program)
    if args.json:
        print_json({"schema_version": 1, "changes": mine})
        return 0
    for kept in mine:
        out().print(f"{kept.id}  {kept.state}", markup=False)
    if not mine:
        out().print(f"no change of {now.program} in {now.path} is on record", markup=False)
    return 0


def finish_first(launcher: Launcher, args: argparse.Namespace) -> Kept | None:
    """A change that a killed unfrag left half way is taken back before anything else; with ``--dry-run`` only told."""
    from unfrag.launchers import change
    from unfrag.launchers.history import History
    from unfrag.reports import err
    from unfrag.reports.progress import waiting

    left = change.unfinished(launcher.read(), History())
    if left is None:
        return None
    if args.dry_run:
        err().print(f"{left.id} was cut short: without --dry-run it is taken back first", markup=False)
        return left
    with waiting(f"taking back {left.id}") as progress:
        done = change.finish(launcher, args.timeout, progress)
    if done is not None:
        err().print(done, markup=False)
    return left


def report(args: argparse.Namespace, path: Path, state: str, change_id: str | None, diff: str) -> int:
    """With ``--json``, what was done, as data. Always 0."""
    from unfrag.reports import print_json

    if args.json:
        print_json({"schema_version": 1, "state": state, "id": change_id, "path": str(path), "diff": diff})
    return 0
