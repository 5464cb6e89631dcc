"""What `unfrag apply` is asked for, as a change whose flags are right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unfrag.commands.target import place

if TYPE_CHECKING:
    import argparse

    from unfrag.apply.change import Change
    from unfrag.apply.history import Kept
    from unfrag.apply.program import Program
    from unfrag.launchers import Launcher


def asked(args: argparse.Namespace, launcher: Launcher) -> tuple[dict[str, str | None], int | None]:
    """The flags to set, and the KV tokens that a plan promises. Raises UsageError."""
    import shlex

    from unfrag.errors import UsageError
    from unfrag.flags.line import read_flags, strays
    from unfrag.plan.effect import read_plan
    from unfrag.system.sentences import sentences

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
        how = "nothing to change: put flags behind --, name a plan with --plan, or a flag with --unset"
        raise UsageError(sentences(how, _repairs(launcher, args)))
    return wanted, expected


def _repairs(launcher: Launcher, args: argparse.Namespace) -> str:
    """What any change would repair in the command as it is, and how to have that alone; else nothing."""
    import shlex

    from unfrag.flags.repair import repair_line

    flags, _, notes = repair_line(launcher.read().command, {})
    if not notes:
        return ""
    words = [word for flag, value in flags.items() for word in (flag, value) if word is not None]
    alone = f": unfrag apply {place(args)} -- {shlex.join(words)}" if words else ""
    return f"Any change would also repair what stands there ({'; '.join(notes)}){alone}"


def _shown(flag: str, value: str) -> str:
    from unfrag.redaction import TAKEN
    from unfrag.redaction.names import is_secret

    return TAKEN if is_secret(flag) else value


def right(program: Program, given: dict[str, str | None], args: argparse.Namespace) -> tuple[Change, list[str]] | None:
    """The change as far as it can be planned before anything is touched; None: what was made before shows it later.

    Raises:
        UsageError: there is no such change to be made once more, or this vLLM does not take the flags.
    """
    if args.redo:
        _on_record(program, args)
        return None
    return planned_change(program, given, args)


def planned_change(
    program: Program, given: dict[str, str | None], args: argparse.Namespace
) -> tuple[Change, list[str]]:
    """The change, and what is to be said of it. Raises UsageError: this vLLM does not take the flags."""
    if args.redo:
        from unfrag.apply.rollback import forward

        return forward(program.launcher.read(), _on_record(program, args), program.history), []
    return _edited(program.launcher, given, args.unset)


def _edited(launcher: Launcher, given: dict[str, str | None], unset: list[str]) -> tuple[Change, list[str]]:
    from unfrag.apply import change
    from unfrag.flags.line import flag_name, read_flags
    from unfrag.flags.repair import repair_line
    from unfrag.launchers import Edit
    from unfrag.plan.effect import costs

    command = launcher.read().command
    removed = tuple("--" + flag_name(name.lstrip("-")) for name in unset)
    _must_be_editable(command, {*map(flag_name, given), *removed})
    flags, words, notes = repair_line(command, given)
    planned = change.plan(launcher, Edit(flags, removed, words))
    now = read_flags(command)
    notes += _judged(planned, now)
    return planned, notes + costs({flag: value for flag, value in flags.items() if now.get(flag) != value})


def _judged(planned: Change, now: dict[str, str | None]) -> list[str]:
    """What is to be said of flags that are not asked for. Raises UsageError: one that is asked for is wrong."""
    from unfrag.doctor.probes import launch
    from unfrag.errors import UsageError
    from unfrag.facts.values import Unknown
    from unfrag.flags import check
    from unfrag.flags.line import flag_name
    from unfrag.server.client import Server
    from unfrag.system.sentences import sentences

    version: str | Unknown = Unknown("the server does not run")
    if planned.spec.url:
        with Server(planned.spec.url) as server:
            version = server.version()
    notes = []
    for flag, why in check.check(launch.of_text(planned.command, "the new command"), Unknown(""), version):
        if flag in map(flag_name, planned.edit.flags):
            raise UsageError(sentences(f"{flag}: {why}", "Nothing was changed"))
        notes.append(f"warning: {flag} stands in the command: {why}")
    for flag in planned.edit.removed:
        mistake = None if flag in now else _nothing_to_unset(flag, now, check.listed(version))
        if mistake is not None:
            raise UsageError(sentences(f"--unset {flag.removeprefix('--')}: {mistake}", "Nothing was changed"))
    unchecked = check.unchecked(planned.command, version)
    if unchecked is not None:
        notes.append(f"warning: flags are not checked, so a wrong one shows only at the start: {unchecked}")
    return notes


def _nothing_to_unset(flag: str, now: dict[str, str | None], version: str | None) -> str | None:
    """Why a flag that does not stand in the command is a mistake; None: it may have been taken out before."""
    import difflib

    from unfrag.flags.check import known

    if near := difflib.get_close_matches(flag, now, n=1, cutoff=0.75):
        return f"no such flag stands in the command; did you mean {near[0].removeprefix('--')}?"
    if version is not None and flag not in known(version):
        return f"it does not stand in the command, and is no flag of vLLM {version}"
    return None


def _on_record(program: Program, args: argparse.Namespace) -> Kept:
    """The change that is to be made once more. Raises UsageError: there is none."""
    from unfrag.errors import UsageError

    now = program.launcher.read()
    found = [kept for kept in program.history.of(now.path, now.program) if kept.id == args.redo]
    if not found:
        raise UsageError(f"{args.redo} is no change of {now.program}; all: unfrag apply {place(args)} --history")
    return found[0]


def _must_be_editable(command: str, flags: set[str]) -> None:
    """Raises UsageError: the server's words are not the command's own, or a flag to be changed has several values."""
    from unfrag.errors import UsageError
    from unfrag.flags.line import split, strays

    words = [word.text for word in split(command)]
    if words and words[0].rsplit("/", 1)[-1] in ("sh", "bash", "dash", "zsh") and "-c" in words:
        raise UsageError(f"the command starts {words[0]} -c: write the server's own command there, or edit it by hand")
    several = next((flag for flag in strays(command) if flag in flags), None)
    if several is not None:
        raise UsageError(f"{several} has several values in the command: edit it by hand. Nothing was changed")
