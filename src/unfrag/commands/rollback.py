"""Go back to the supervisor file from before the last `unfrag apply`, and restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unfrag.commands.apply import add_launcher_arguments

if TYPE_CHECKING:
    import argparse

NAME = "rollback"
EXAMPLES = """\
  unfrag rollback --config /etc/supervisor/conf.d/glm47flash.conf --list
  unfrag rollback --config /etc/supervisor/conf.d/glm47flash.conf
  unfrag rollback --config /etc/supervisor/conf.d/glm47flash.conf --to 20261122T031500-123456789-glm_vllm
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    add_launcher_arguments(parser)
    parser.add_argument("--to", metavar="ID", help="the change to undo (default: the last one that was applied)")
    parser.add_argument("--list", action="store_true", help="list the changes on record")


def run(args: argparse.Namespace) -> int:
    from unfrag.errors import UsageError
    from unfrag.launchers import change
    from unfrag.launchers.files import History
    from unfrag.launchers.supervisor import SupervisorProgram
    from unfrag.reports import err, out
    from unfrag.reports.progress import waiting

    history = History()
    mine = [k for k in history.all() if k.path == str(args.config.resolve()) and k.program == args.program]
    if args.list:
        for kept in mine:
            out().print(f"{kept.id}  {kept.state}", markup=False)
        return 0
    undoable = [k for k in mine if (k.id == args.to if args.to else k.state == "applied")]
    if not undoable:
        raise UsageError(f"no such change of {args.program} in {args.config} is on record; see --list")
    kept = undoable[-1]
    launcher = SupervisorProgram(args.config, args.program, args.server)
    if args.dry_run:
        before = history.before(kept)
        out().print(change.Change(launcher.read(), before, {}, ()).diff(), markup=False)
        err().print("dry run: nothing was changed")
        return 0
    with waiting(f"restarting {args.program}") as progress:
        change.rollback(launcher, kept, args.timeout, progress, history)
    err().print(f"{args.config} is as it was before {kept.id}, and {args.program} runs with it")
    return 0
