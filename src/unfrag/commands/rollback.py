"""Go back to the configuration from before the last `unfrag apply`, and restart."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from unfrag.commands.changes import (
    add_change_arguments,
    end_unfinished,
    list_history,
    nothing_to_do,
    program_named,
    report,
    show,
    tell_unfinished,
    warn_of_a_start,
    would_end,
)
from unfrag.commands.target import place

if TYPE_CHECKING:
    import argparse

    from unfrag.apply.history import Kept
    from unfrag.apply.program import Program
    from unfrag.apply.unfinished import Ended

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
    from unfrag.apply import rollback
    from unfrag.apply.change import Change
    from unfrag.apply.history import digest
    from unfrag.commands.failed_start import explained
    from unfrag.reports import err
    from unfrag.reports.text.progress import waiting

    if args.list:
        return list_history(args)
    program = program_named(args)
    now = program.launcher.read()
    if args.dry_run:
        if (left := tell_unfinished(program)) is not None:
            return would_end(program, left, args)
    elif (ended := end_unfinished(program)) is not None and _was_it(ended, args):
        with waiting(f"starting {now.program}") as progress:
            if ended.kept.was_up and rollback.bring_up(dataclasses.replace(program, progress=progress), ended.kept):
                err().print(f"{now.program} was started with it", markup=False)
        return report(args, now.path, ended.kept.state, ended.kept.id, "")
    kept = _undoable(program, args)
    spec = program.launcher.read()
    if digest(spec.content) == kept.before_sha256:
        return nothing_to_do(args, program, f"{spec.path} is already as it was before {kept.id}", kept.id)
    diff = Change(spec, program.history.before(kept)).diff()
    show(diff, args)
    if not kept.was_up and not kept.was_stopped:
        err().print(f"warning: {now.program} was down with that file when {kept.id} was made", markup=False)
    warn_of_a_start(program)
    if args.dry_run:
        err().print("dry run: nothing was changed. The server would be restarted; running requests would be lost.")
        return report(args, now.path, "dry run", kept.id, diff)
    with waiting(f"changing {now.program}") as progress, explained(program) as explaining:
        rollback.rollback(dataclasses.replace(explaining, progress=progress), kept)
    err().print(f"{now.path} is as it was before {kept.id}, and {now.program} runs with it", markup=False)
    if kept.was_stopped:
        err().print(f"{now.program} was stopped before that change, and is up now", markup=False)
    err().print(f"forward again: unfrag apply {place(args)} --redo {kept.id}", markup=False, style="dim")
    return report(args, now.path, "rolled back", kept.id, diff)


def _was_it(ended: Ended, args: argparse.Namespace) -> bool:
    """Was the change that was just ended the one to be taken back, and is it?"""
    return args.to in (None, ended.kept.id) and ended.kept.state in ("rolled back", "not made")


def _undoable(program: Program, args: argparse.Namespace) -> Kept:
    """Raises UsageError: there is no such change."""
    from unfrag.errors import UsageError

    now = program.launcher.read()
    mine = program.history.of(now.path, now.program)
    undoable = [kept for kept in mine if (kept.id == args.to if args.to else kept.state == "applied")]
    if not undoable:
        what = f"{args.to} is" if args.to else "there is"
        every = f"unfrag rollback {place(args)} --list"
        raise UsageError(f"{what} no change of {now.program} on record that could be taken back; all: {every}")
    return undoable[-1]
