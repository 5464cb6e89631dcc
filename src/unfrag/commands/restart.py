"""Restart a server where it is started from, wait until it is ready, and say how long that took."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

from unfrag.commands.changes import add_change_arguments, program_named, warn_of_a_start
from unfrag.commands.target import place
from unfrag.commands.thresholds import add_thresholds

if TYPE_CHECKING:
    import argparse

    from unfrag.apply.program import Program

NAME = "restart"
EXAMPLES = """\
  unfrag restart --config /etc/supervisor/conf.d/glm47flash.conf
  unfrag restart --unit vllm.service --timeout 900
  unfrag restart --compose docker-compose.yml --service vllm
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    add_change_arguments(parser)
    add_thresholds(parser)


def run(args: argparse.Namespace) -> int:
    from unfrag.apply.lock import only_one
    from unfrag.reports import err, print_json

    program = program_named(args)
    spec = program.launcher.read()
    with contextlib.nullcontext() if args.dry_run else only_one(spec.path):
        _must_be_whole(program, args)
        status = program.launcher.status()  # a launcher that does not answer is known before anything happens
        warn_of_a_start(program)
        for other in program.runs_otherwise():
            err().print(f"warning: the restart brings what its file says: {other}", markup=False)
        if args.dry_run:
            err().print(
                f"dry run: {spec.program} is {status.state}. It would be restarted; running requests would be lost.",
                markup=False,
            )
            seconds = None
        else:
            seconds = _restarted(program, args)
    if args.json:
        state = "dry run" if args.dry_run else "restarted"
        print_json({"schema_version": 1, "state": state, "program": spec.program, "url": spec.url, "seconds": seconds})
    return 0


def _restarted(program: Program, args: argparse.Namespace) -> float:
    """Seconds until it was ready. Raises RollbackFailed: it does not come up, and there is nothing to go back to."""
    import time

    from unfrag.commands.failed_start import explained
    from unfrag.errors import NeverReady, RollbackFailed
    from unfrag.reports import err
    from unfrag.reports.text.progress import waiting

    name, started = program.launcher.read().program, time.monotonic()
    with (
        waiting(f"restarting {name}") as progress,
        explained(program, args.thresholds, place(args)) as explaining,
    ):
        try:
            url = dataclasses.replace(explaining, progress=progress).restart()
        except NeverReady as fault:
            raise RollbackFailed(f"{name} did not come up again: {fault}\nA human is needed") from fault
        except KeyboardInterrupt:
            err().print(f"{name} was told to restart, and nobody waits for it any more", markup=False)
            raise
    seconds = time.monotonic() - started
    err().print(f"{name} is ready again after {seconds:.0f} s: {url}", markup=False)
    return seconds


def _must_be_whole(program: Program, args: argparse.Namespace) -> None:
    """Raises UsageError: a change was cut short, and a restart would start what nobody verified."""
    from unfrag.apply.unfinished import unfinished
    from unfrag.errors import UsageError

    kept = unfinished(program.launcher.read(), program.history)
    if kept is not None:
        raise UsageError(
            f"{kept.id} was cut short, and nothing was restarted; this ends it: unfrag rollback {place(args)}"
        )
