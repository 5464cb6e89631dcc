"""Change a server's flags where it is started from, restart, verify, and roll back by itself if it does not hold."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from unfrag.commands.launched import add_place, launcher_of, place
from unfrag.commands.numbers import seconds

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from unfrag.launchers import Launcher
    from unfrag.launchers.history import Kept

NAME = "apply"
EXAMPLES = """\
  unfrag apply --config /etc/supervisor/conf.d/glm47flash.conf --dry-run -- --block-size 32 --max-num-seqs 64
  unfrag apply --config /etc/supervisor/conf.d/glm47flash.conf -- --block-size 32 --max-num-seqs 64
  unfrag apply --config glm47flash.conf --unset enforce-eager -- --kv-cache-dtype fp8
  unfrag apply --unit vllm.service -- --max-num-seqs 64
"""

_DRY_RUN = "dry run: nothing was changed. The server would be restarted; running requests would be lost."


def add_change_arguments(parser: argparse.ArgumentParser) -> None:
    """What every change of a running server takes; ``rollback`` is one too."""
    add_place(parser, required=True)
    parser.add_argument(
        "--timeout", type=seconds, default=600.0, help="seconds to wait for ready (default: %(default)s)"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would change; change nothing")
    parser.add_argument("--json", action="store_true")


def prepare(parser: argparse.ArgumentParser) -> None:
    add_change_arguments(parser)
    parser.add_argument("--unset", action="append", default=[], metavar="FLAG", help="remove --FLAG; repeatable")
    parser.add_argument("flags", nargs="*", metavar="-- --FLAG VALUE", help="vLLM flags to set, behind --")


def run(args: argparse.Namespace) -> int:
    import shlex

    from unfrag.commandline import read_flags
    from unfrag.errors import UsageError
    from unfrag.launchers import change
    from unfrag.reports import err
    from unfrag.reports.progress import waiting
    from unfrag.spellings import repair

    wanted, notes = repair(read_flags(shlex.join(args.flags)))
    removed = tuple("--" + name.lstrip("-") for name in args.unset)
    if not wanted and not removed:
        raise UsageError("nothing to change: put flags behind --, or name one with --unset")
    for note in notes:
        err().print(note)
    launcher = launcher_named(args)
    finish_first(launcher, args)
    planned = change.plan(launcher, wanted, removed)
    diff = planned.diff()
    if diff and not args.json:
        sys.stdout.write(diff + "\n")
    if planned.changes_nothing or args.dry_run:
        why = f"{place(args)} already says so; nothing to do" if planned.changes_nothing else _DRY_RUN
        err().print(why)
        return report(args, planned.spec.path, "nothing to do" if planned.changes_nothing else "dry run", None, diff)
    name = planned.spec.program
    with waiting(f"restarting {name}") as progress:
        kept = change.apply(launcher, planned, args.timeout, progress)
    err().print(f"{name} runs with the new flags. Back again: unfrag rollback {place(args)}", markup=False)
    err().print(f"kept as {kept.id}", style="dim")
    return report(args, planned.spec.path, "applied", kept.id, diff)


def launcher_named(args: argparse.Namespace) -> Launcher:
    """By the arguments, of which one is required."""
    launcher = launcher_of(args.config, args.program, args.server, args.unit, args.user)
    assert launcher is not None
    return launcher


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
