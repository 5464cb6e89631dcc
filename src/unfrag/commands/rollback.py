"""Go back to the configuration from before the last `unfrag apply`, and restart."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from unfrag.commands.changes import add_change_arguments, end_unfinished, list_history, report
from unfrag.commands.launched import launcher_named, place

if TYPE_CHECKING:
    import argparse

NAME = "rollback"
EXAMPLES = """\
  unfrag rollback --config /etc/supervisor/conf.d/glm47flash.conf --list
  unfrag rollback --config /etc/supervisor/conf.d/glm47flash.conf
  unfrag rollback --config /etc/supervisor/conf.d/glm47flash.conf --to 20261122T031500-123456789-glm_vllm
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    add_change_arguments(parser)
    parser.add_argument("--to", metavar="ID", help="the change to undo (default: the last one that was applied)")
    parser.add_argument("--list", action="store_true", help="list the changes on record")


def run(args: argparse.Namespace) -> int:
    from unfrag.errors import UsageError
    from unfrag.launchers import change, goback
    from unfrag.launchers.history import History
    from unfrag.reports import err
    from unfrag.reports.progress import waiting
    from unfrag.streams import printable

    if args.list:
        return list_history(args)
    history = History()
    launcher = launcher_named(args)
    now = launcher.read()
    ended = end_unfinished(launcher, args)
    if ended is not None and args.to in (None, ended.kept.id) and ended.kept.state in ("rolled back", "not made"):
        if ended.kept.was_up:
            with waiting(f"starting {now.program}") as progress:
                goback.bring_up(launcher, args.timeout, progress)
        return report(args, now.path, ended.kept.state, ended.kept.id, "")
    mine = history.of(now.path, now.program)
    undoable = [k for k in mine if (k.id == args.to if args.to else k.state == "applied")]
    if not undoable:
        what = f"{args.to} is" if args.to else "there is"
        every = f"unfrag rollback {place(args)} --list"
        raise UsageError(f"{what} no change of {now.program} on record that could be taken back; all: {every}")
    kept = undoable[-1]
    diff = change.Change(launcher.read(), history.before(kept)).diff()
    if not args.json:
        sys.stdout.write(printable(diff) + "\n")
    if not kept.was_up and not kept.was_stopped:
        err().print(f"warning: {now.program} was down with that file when {kept.id} was made", markup=False)
    if args.dry_run:
        err().print("dry run: nothing was changed")
        return report(args, now.path, "dry run", kept.id, diff)
    with waiting(f"restarting {now.program}") as progress:
        goback.rollback(launcher, kept, args.timeout, progress, history)
    err().print(f"{now.path} is as it was before {kept.id}, and {now.program} runs with it", markup=False)
    err().print(f"forward again: unfrag apply {place(args)} --redo {kept.id}", markup=False, style="dim")
    return report(args, now.path, "rolled back", kept.id, diff)
