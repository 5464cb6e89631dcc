"""Go back to the configuration from before the last `unfrag apply`, and restart."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from unfrag.commands.changes import add_change_arguments, finish_first, list_history, report
from unfrag.commands.launched import launcher_named

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
    from unfrag.launchers import change
    from unfrag.launchers.history import History
    from unfrag.reports import err
    from unfrag.reports.progress import waiting

    if args.list:
        return list_history(args)
    history = History()
    launcher = launcher_named(args)
    now = launcher.read()
    mine = history.of(now.path, now.program)
    left = finish_first(launcher, args)
    if left is not None and args.to in (None, left.id):
        return report(args, now.path, "dry run" if args.dry_run else "rolled back", left.id, "")
    undoable = [k for k in mine if (k.id == args.to if args.to else k.state == "applied")]
    if not undoable:
        raise UsageError(f"no such change of {now.program} in {now.path} is on record; see --list")
    kept = undoable[-1]
    diff = change.Change(launcher.read(), history.before(kept)).diff()
    if not args.json:
        sys.stdout.write(diff + "\n")
    if args.dry_run:
        err().print("dry run: nothing was changed")
        return report(args, now.path, "dry run", kept.id, diff)
    with waiting(f"restarting {now.program}") as progress:
        change.rollback(launcher, kept, args.timeout, progress, history)
    err().print(f"{now.path} is as it was before {kept.id}, and {now.program} runs with it", markup=False)
    return report(args, now.path, "rolled back", kept.id, diff)
