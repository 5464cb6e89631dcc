"""Change a server's flags where it is started from, restart, verify, and roll back by itself if it does not hold."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from unfrag.commands.asked import asked, planned_change, right
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
from unfrag.commands.numbers import count
from unfrag.commands.options import add_fail_on
from unfrag.commands.target import place
from unfrag.commands.thresholds import add_thresholds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from unfrag.apply.change import Change, Check
    from unfrag.apply.no_worse import Before
    from unfrag.apply.program import Program
    from unfrag.commands.around import Around
    from unfrag.launchers import Launcher

NAME = "apply"
EXAMPLES = """\
  unfrag apply --config /etc/supervisor/conf.d/glm47flash.conf --dry-run -- --block-size 32 --max-num-seqs 64
  unfrag apply --config /etc/supervisor/conf.d/glm47flash.conf -- --block-size 32 --max-num-seqs 64
  unfrag apply --config glm47flash.conf --unset enforce-eager -- --kv-cache-dtype fp8
  unfrag apply --unit vllm.service -- --max-num-seqs 64
  unfrag apply --compose docker-compose.yml --service vllm -- --max-num-seqs 64
  unfrag apply --config glm47flash.conf --plan plan.json     what `unfrag plan --json` wrote
  unfrag apply --config glm47flash.conf --history
"""

_DRY_RUN = "dry run: nothing was changed. The server would be restarted; running requests would be lost."


def prepare(parser: argparse.ArgumentParser) -> None:
    add_change_arguments(parser)
    add_thresholds(parser)
    parser.add_argument("--unset", action="append", default=[], metavar="FLAG", help="remove --FLAG; repeatable")
    parser.add_argument(
        "--plan", type=Path, metavar="FILE", help="the flags of a plan: what `unfrag plan --json` wrote"
    )
    add_fail_on(parser, "warning", "take the change back on a new finding of this severity or a graver one")
    parser.add_argument(
        "--bench", type=count, nargs="?", const=24, metavar="PROMPTS", help="measure before and after (default: 24)"
    )
    parser.add_argument("--redo", metavar="ID", help="make a change once more that was taken back")
    parser.add_argument("--history", action="store_true", help="list the changes on record")
    parser.set_defaults(hint="; flags of vLLM stand behind --, as in: unfrag apply --config F -- --max-num-seqs 64")
    parser.add_argument("flags", nargs="*", metavar="-- --FLAG VALUE", help="vLLM flags to set, behind --")


def run(args: argparse.Namespace) -> int:
    from unfrag.apply import change
    from unfrag.commands.failed_start import explained
    from unfrag.reports import err, out
    from unfrag.reports.text.progress import waiting

    if args.history:
        return list_history(args)
    program, say = program_named(args), err().print
    launcher = program.launcher
    given, expected = asked(args, launcher)
    first = right(program, given, args)  # a wrong flag ends here, before anything is touched
    if args.dry_run:
        left = tell_unfinished(program)
        if left is not None and left.file(program.history) is not None:
            return would_end(program, left, args)
    elif end_unfinished(program) is not None:
        first = None
    planned, notes = first or planned_change(program, given, args)
    for note in notes:
        say(note, markup=False)
    diff = planned.diff()
    show(diff, args)
    if planned.changes_nothing:
        return nothing_to_do(args, program, f"{place(args)} already says so", None)
    warnings = [*launcher.warnings(), *_started_otherwise(program), *(_would_end(launcher) if args.dry_run else ())]
    for warning in warnings:
        say(f"warning: {warning}", markup=False)
    warn_of_a_start(program)
    before = _before(planned, launcher, args)
    expected = _expected(before, planned, expected, say)
    checks = _checks(before, expected)
    said = {"notes": [*notes, *warnings], "expected_tokens": expected}
    if args.dry_run:
        say(_DRY_RUN)
        return report(args, planned.spec.path, "dry run", None, diff, **said)
    around = _around(planned, args.bench) if args.bench else None
    name = planned.spec.program
    with waiting(f"changing {name}") as progress, explained(program, args.thresholds) as explaining:
        kept = change.apply(
            dataclasses.replace(explaining, progress=progress),
            planned,
            [*checks, *([around.failures] if around else [])],
        )
    if around is not None:
        (err() if args.json else out()).print(around.table())
        (err() if args.json else out()).print(around.verdict(), markup=False)
    say(f"{name} runs with the new flags. Back again: unfrag rollback {place(args)}", markup=False)
    say(f"kept as {kept.id}", style="dim")
    bench = {"bench": around.verdict()} if around is not None else {}
    return report(args, planned.spec.path, "applied", kept.id, diff, **said, **bench)


def _started_otherwise(program: Program) -> list[str]:
    """Its restart brings more than what was asked for."""
    other = program.runs_otherwise()
    return [f"the server was started otherwise than its file says: {'; '.join(other)}"] if other else []


def _before(planned: Change, launcher: Launcher, args: argparse.Namespace) -> Before | None:
    """The server as it is now; None where it is down, and nothing can be compared."""
    from unfrag.apply.no_worse import Before
    from unfrag.doctor.rules.thresholds import load_thresholds
    from unfrag.errors import UnfragError

    try:
        is_down = launcher.status().failed or not planned.spec.url
    except UnfragError:  # a dry run goes on; a change asks again, and ends there
        is_down = True
    return None if is_down else Before(planned.spec.url, args.fail_on, load_thresholds(args.thresholds))


def _would_end(launcher: Launcher) -> list[str]:
    """Why the change itself would end before it began, where its launcher cannot be asked."""
    from unfrag.errors import UnfragError

    try:
        launcher.status()
    except UnfragError as fault:
        return [f"without --dry-run this ends here: {fault}"]
    return []


def _expected(before: Before | None, planned: Change, expected: int | None, say: Callable[[str], object]) -> int | None:
    """How many tokens the KV cache will hold, where that can be said; says it."""
    from unfrag.flags.line import read_flags
    from unfrag.plan import effect

    pool = before.pool if before is not None else None
    if expected is None and pool is not None:
        expected = effect.kv_tokens(pool, read_flags(planned.spec.command), read_flags(planned.command))
    held = pool.capacity_tokens if pool is not None else None
    now = "unknown" if held is None else f"{held:,}"
    if expected is not None:
        say(f"expected: the KV cache will hold {expected:,} tokens ({now} now)")
    elif held is not None:
        say(f"expected: the KV cache holds {now} tokens now; what these flags make of it shows when it has started")
    else:
        say("expected: not known, since nothing says what the KV cache holds now")
    return expected


def _checks(before: Before | None, expected: int | None) -> list[Check]:
    """What must hold afterwards: as many KV tokens as expected, and no new finding."""
    from unfrag.facts.memory_stats import Pool
    from unfrag.plan import effect
    from unfrag.server.client import Server

    def enough(url: str) -> list[str]:
        with Server(url) as server:
            found = server.pool()
        missing = effect.shortfall(found if isinstance(found, Pool) else None, expected) if expected else None
        return [missing] if missing else []

    return [enough, *([before.worse] if before is not None else [])]


def _around(planned: Change, prompts: int) -> Around:
    from unfrag.commands.around import Around
    from unfrag.reports import err

    return Around(planned.spec.url, prompts, err().print)
