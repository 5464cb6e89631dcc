"""Change a server's flags where it is started from, restart, verify, and roll back by itself if it does not hold."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from unfrag.commands.changes import (
    add_change_arguments,
    end_unfinished,
    list_history,
    nothing_to_do,
    report,
    server_named,
    show,
    tell_unfinished,
    warn_of_a_start,
    would_end,
)
from unfrag.commands.launched import place
from unfrag.commands.numbers import count

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from unfrag.bench.around import Around
    from unfrag.launchers import Launcher
    from unfrag.launchers.change import Change, Check
    from unfrag.launchers.history import Kept
    from unfrag.launchers.noworse import Before
    from unfrag.launchers.server import Server

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
    parser.add_argument("--unset", action="append", default=[], metavar="FLAG", help="remove --FLAG; repeatable")
    parser.add_argument(
        "--plan", type=Path, metavar="FILE", help="the flags of a plan: what `unfrag plan --json` wrote"
    )
    parser.add_argument(
        "--fail-on",
        choices=("info", "warning", "critical", "never"),
        default="warning",
        help="take the change back on a new finding of this severity (default: %(default)s)",
    )
    parser.add_argument(
        "--bench", type=count, nargs="?", const=24, metavar="PROMPTS", help="measure before and after (default: 24)"
    )
    parser.add_argument("--redo", metavar="ID", help="make a change once more that was taken back")
    parser.add_argument("--history", action="store_true", help="list the changes on record")
    parser.add_argument("flags", nargs="*", metavar="-- --FLAG VALUE", help="vLLM flags to set, behind --")


def run(args: argparse.Namespace) -> int:
    from unfrag.launchers import change
    from unfrag.reports import err, out
    from unfrag.reports.progress import waiting

    if args.history:
        return list_history(args)
    server, say = server_named(args), err().print
    launcher = server.launcher
    given, expected = _asked(args)
    _must_be_right(server, given, args)  # a wrong flag ends here, before anything is touched
    if args.dry_run:
        left = tell_unfinished(server)
        if left is not None and left.file(server.history) is not None:
            return would_end(server, left, args)
    else:
        end_unfinished(server)
    planned, notes = _planned(server, given, args)
    for note in notes:
        say(note, markup=False)
    diff = planned.diff()
    show(diff, args)
    if planned.changes_nothing:
        return nothing_to_do(args, server, f"{place(args)} already says so", None)
    for warning in [*launcher.warnings(), *_started_otherwise(server)]:
        say(f"warning: {warning}", markup=False)
    warn_of_a_start(server)
    before = _before(planned, launcher, args.fail_on)
    checks = _checks(before, planned, expected, say)
    if args.dry_run:
        say(_DRY_RUN)
        return report(args, planned.spec.path, "dry run", None, diff)
    around = _around(planned, args.bench) if args.bench else None
    name = planned.spec.program
    with waiting(f"restarting {name}") as progress:
        kept = change.apply(
            dataclasses.replace(server, progress=progress),
            planned,
            [*checks, *([around.failures] if around else [])],
        )
    if around is not None:
        (err() if args.json else out()).print(around.table())
    say(f"{name} runs with the new flags. Back again: unfrag rollback {place(args)}", markup=False)
    say(f"kept as {kept.id}", style="dim")
    return report(args, planned.spec.path, "applied", kept.id, diff)


def _started_otherwise(server: Server) -> list[str]:
    """Its restart brings more than what was asked for."""
    other = server.runs_otherwise()
    return [f"the server was started otherwise than its file says: {'; '.join(other)}"] if other else []


def _asked(args: argparse.Namespace) -> tuple[dict[str, str | None], int | None]:
    """The flags to set, and the KV tokens that a plan promises. Raises UsageError."""
    import shlex

    from unfrag.commandline import read_flags, strays
    from unfrag.errors import UsageError
    from unfrag.plan.effect import read_plan

    said = shlex.join(args.flags)
    short = next((word for word in args.flags if word.startswith("-") and not word.startswith("--")), None)
    alone = next((f"{_shown(flag, words[0])} behind {flag}" for flag, words in strays(said).items()), None)
    if args.flags and not args.flags[0].startswith("-"):
        alone = args.flags[0]
    if short is not None and not short[1:].replace(".", "").isdecimal():
        raise UsageError(f"{short}: write the flag's long name, such as --tensor-parallel-size")
    if alone is not None:
        raise UsageError(f"{alone} belongs to no flag: give each flag one value, and edit those of several by hand")
    wanted, expected = read_flags(said), None
    if args.plan is not None:
        given = read_plan(args.plan)
        wanted, expected = {**given.wanted, **wanted}, given.kv_tokens
    if args.redo and (wanted or args.unset):
        raise UsageError("--redo makes an earlier change once more, as it was: leave out flags, --plan and --unset")
    if not wanted and not args.unset and not args.redo:
        raise UsageError("nothing to change: put flags behind --, name a plan with --plan, or a flag with --unset")
    return wanted, expected


def _shown(flag: str, value: str) -> str:
    from unfrag.redaction import TAKEN
    from unfrag.redaction.names import is_secret

    return TAKEN if is_secret(flag) else value


def _must_be_right(server: Server, given: dict[str, str | None], args: argparse.Namespace) -> None:
    """Raises UsageError: there is no such change to be made once more, or this vLLM does not take the flags."""
    if args.redo:
        _on_record(server, args)
    else:
        _planned(server, given, args)


def _planned(server: Server, given: dict[str, str | None], args: argparse.Namespace) -> tuple[Change, list[str]]:
    """The change, and what is to be said of it. Raises UsageError: this vLLM does not take the flags."""
    launcher = server.launcher
    if args.redo:
        from unfrag.launchers.goback import forward

        return forward(launcher.read(), _on_record(server, args), server.history), []
    from unfrag import vllm_flags
    from unfrag.commandline import flag_name, read_flags
    from unfrag.errors import UsageError
    from unfrag.facts import Unknown
    from unfrag.launchers import Edit, change
    from unfrag.plan.effect import costs
    from unfrag.probes import http, launch
    from unfrag.sentences import sentences
    from unfrag.spellings import repair_line

    command = launcher.read().command
    removed = tuple("--" + flag_name(name.lstrip("-")) for name in args.unset)
    _must_be_editable(command, {*map(flag_name, given), *removed})
    flags, words, notes = repair_line(command, given)
    planned = change.plan(launcher, Edit(flags, removed, words))
    version: str | Unknown = Unknown("the server does not run")
    if planned.spec.url:
        with http.client(planned.spec.url) as client:
            version = http.read_version(client)
    wrong = vllm_flags.check(launch.of_text(planned.command, "the new command"), Unknown(""), version)
    for flag, why in wrong:
        if flag in map(flag_name, flags):
            raise UsageError(sentences(f"{flag}: {why}", "Nothing was changed"))
        notes.append(f"warning: {flag} stands in the command: {why}")
    now = read_flags(command)
    return planned, notes + costs({flag: value for flag, value in flags.items() if now.get(flag) != value})


def _on_record(server: Server, args: argparse.Namespace) -> Kept:
    """The change that is to be made once more. Raises UsageError: there is none."""
    from unfrag.errors import UsageError

    now = server.launcher.read()
    found = [kept for kept in server.history.of(now.path, now.program) if kept.id == args.redo]
    if not found:
        raise UsageError(f"{args.redo} is no change of {now.program}; all: unfrag apply {place(args)} --history")
    return found[0]


def _must_be_editable(command: str, flags: set[str]) -> None:
    """Raises UsageError: the server's words are not the command's own, or a flag to be changed has several values."""
    from unfrag.commandline import split, strays
    from unfrag.errors import UsageError

    words = [word.text for word in split(command)]
    if words and words[0].rsplit("/", 1)[-1] in ("sh", "bash", "dash", "zsh") and "-c" in words:
        raise UsageError(f"the command starts {words[0]} -c: write the server's own command there, or edit it by hand")
    several = next((flag for flag in strays(command) if flag in flags), None)
    if several is not None:
        raise UsageError(f"{several} has several values in the command: edit it by hand. Nothing was changed")


def _before(planned: Change, launcher: Launcher, fail_on: str) -> Before | None:
    """The server as it is now; None where it is down, and nothing can be compared."""
    from unfrag.errors import UnfragError
    from unfrag.launchers.noworse import Before

    try:
        is_down = launcher.status().failed or not planned.spec.url
    except UnfragError:  # a dry run goes on; a change asks again, and ends there
        is_down = True
    return None if is_down else Before(planned.spec.url, fail_on)


def _checks(before: Before | None, planned: Change, expected: int | None, say: Callable[[str], object]) -> list[Check]:
    """What must hold afterwards: as many KV tokens as expected, and no new finding. Says what is expected."""
    from unfrag.commandline import read_flags
    from unfrag.facts import Pool
    from unfrag.plan import effect
    from unfrag.probes import http

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

    def enough(url: str) -> list[str]:
        with http.client(url) as server:
            found = http.read_pool(server)
        missing = effect.shortfall(found if isinstance(found, Pool) else None, expected) if expected else None
        return [missing] if missing else []

    return [enough, *([before.worse] if before is not None else [])]


def _around(planned: Change, prompts: int) -> Around:
    from unfrag.bench.around import Around
    from unfrag.reports import err

    return Around(planned.spec.url, prompts, err().print)
