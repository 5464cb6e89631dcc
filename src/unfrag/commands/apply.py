"""Change a server's flags where it is started from, restart, verify, and roll back by itself if it does not hold."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from unfrag.commands.numbers import seconds

if TYPE_CHECKING:
    import argparse

    from unfrag.launchers import Launcher

NAME = "apply"
EXAMPLES = """\
  unfrag apply --config /etc/supervisor/conf.d/glm47flash.conf --dry-run -- --block-size 32 --max-num-seqs 64
  unfrag apply --config /etc/supervisor/conf.d/glm47flash.conf -- --block-size 32 --max-num-seqs 64
  unfrag apply --config glm47flash.conf --unset enforce-eager -- --kv-cache-dtype fp8
  unfrag apply --unit vllm.service -- --max-num-seqs 64
"""

_DRY_RUN = "dry run: nothing was changed. The server would be restarted; running requests would be lost."


def add_launcher_arguments(parser: argparse.ArgumentParser) -> None:
    """What names a program under supervisord or systemd; ``rollback`` takes the same."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--config", type=Path, help="the supervisor file with the program")
    where.add_argument("--unit", help="the systemd unit; a drop-in changes its command")
    parser.add_argument("--user", action="store_true", help="the unit is one of this user's own systemd")
    parser.add_argument("--program", default="glm_vllm", help="its name in that file (default: %(default)s)")
    parser.add_argument("--server", help="supervisord: unix:///path or http://host:port (default: from its files)")
    parser.add_argument(
        "--timeout", type=seconds, default=600.0, help="seconds to wait for ready (default: %(default)s)"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would change; change nothing")
    parser.add_argument("--json", action="store_true")


def prepare(parser: argparse.ArgumentParser) -> None:
    add_launcher_arguments(parser)
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
    launcher = launcher_of(args)
    finish_first(launcher, args)
    planned = change.plan(launcher, wanted, removed)
    diff = planned.diff()
    if diff and not args.json:
        sys.stdout.write(diff + "\n")
    if planned.changes_nothing or args.dry_run:
        why = f"{place(args)} already says so; nothing to do" if planned.changes_nothing else _DRY_RUN
        err().print(why)
        return report(args, "nothing to do" if planned.changes_nothing else "dry run", None, diff)
    name = planned.spec.program
    with waiting(f"restarting {name}") as progress:
        kept = change.apply(launcher, planned, args.timeout, progress)
    err().print(f"{name} runs with the new flags. Back again: unfrag rollback {place(args)}", markup=False)
    err().print(f"kept as {kept.id}", style="dim")
    return report(args, "applied", kept.id, diff)


def launcher_of(args: argparse.Namespace) -> Launcher:
    """The launcher that the arguments name."""
    from unfrag.launchers.supervisor import SupervisorProgram
    from unfrag.launchers.systemd import SystemdUnit

    if args.unit is not None:
        return SystemdUnit(args.unit, args.user)
    return SupervisorProgram(args.config, args.program, args.server)


def place(args: argparse.Namespace) -> str:
    """The same, as it is said on the command line."""
    if args.unit is not None:
        return f"--unit {args.unit}{' --user' if args.user else ''}"
    return f"--config {args.config}"


def finish_first(launcher: Launcher, args: argparse.Namespace) -> None:
    """A change that a killed unfrag left half way is taken back before anything else; with ``--dry-run`` only told."""
    from unfrag.launchers import change
    from unfrag.launchers.history import History
    from unfrag.reports import err
    from unfrag.reports.progress import waiting

    left = change.unfinished(launcher, History())
    if left is None:
        return
    if args.dry_run:
        err().print(f"{left.id} was cut short: without --dry-run it is taken back first", markup=False)
        return
    with waiting(f"taking back {left.id}") as progress:
        done = change.finish(launcher, args.timeout, progress)
    if done is not None:
        err().print(done, markup=False)


def report(args: argparse.Namespace, state: str, change_id: str | None, diff: str) -> int:
    """With ``--json``, what was done, as data. Always 0."""
    from unfrag.reports import print_json

    if args.json:
        print_json(
            {
                "schema_version": 1,
                "state": state,
                "id": change_id,
                "path": str(launcher_of(args).read().path),
                "diff": diff,
            }
        )
    return 0
