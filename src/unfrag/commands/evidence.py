"""What `diagnose` and `capture` look at: a live server and its log, or evidence that was pasted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unfrag.commands.target import PLACES, add_target, is_named, launcher_named, place, url, url_at
from unfrag.commands.thresholds import add_thresholds

if TYPE_CHECKING:
    import argparse

    from unfrag.doctor.collect import Asked
    from unfrag.facts.snapshot import Launch, Snapshot
    from unfrag.facts.values import Unknown
    from unfrag.launchers import Launcher

_NEWEST_AMONG = ("*.log", "*.log.gz", "*.log.zst")


def prepare(parser: argparse.ArgumentParser) -> None:
    """Flags that say what to look at."""
    add_target(parser)
    parser.add_argument(
        "--log",
        type=Path,
        metavar="FILE",
        help="its log: plain, gzip, zstd or UTF-16; - reads stdin (default: where its place writes it)",
    )
    parser.add_argument("--evidence", type=Path, metavar="PATH", help="a folder of pasted evidence, or a capture")
    parser.add_argument(
        "--allocator-snapshot", type=Path, metavar="FILE", help="what torch.cuda.memory._snapshot() gave, pickled"
    )
    add_thresholds(parser)
    parser.add_argument("--cards", type=int, metavar="N", help="how many cards this server is meant to see")


def collect(args: argparse.Namespace) -> Snapshot:
    """What the arguments point at. A log alone gives its name to the snapshot when no server answers.

    Fills in ``args.url`` and ``args.log`` with what the server's place says, where they are not given.

    Raises:
        UsageError: a file is not there, is no log, or does not go with another.
    """
    from unfrag.doctor import collect as probes

    return _pasted(args) if args.evidence else probes.live(asked(args))


def asked(args: argparse.Namespace, follow: bool = False) -> Asked:
    """Where the live server is looked for. Raises UsageError.

    Args:
        follow: the log is read as it grows, and not by who asks.
    """
    from unfrag.doctor.collect import Asked
    from unfrag.errors import UsageError

    otherwise = str(args.log) if args.log and args.url is None else None
    launch: Launch | Unknown | None = None
    silence: Unknown | None = None
    if args.log == Path("-") and not follow:
        from unfrag.doctor.probes.log.stdin import spooled

        args.log, otherwise = spooled(), otherwise and "the log from stdin"
    for name in ("log", "allocator_snapshot"):
        path = getattr(args, name)
        if path and path != Path("-") and not path.exists():
            raise UsageError(f"--{name.replace('_', '-')} {path}: no such file")
    if args.log and args.log.is_dir():
        raise UsageError(f"--log {args.log} is a folder, and a log is one file: {_file_in(args.log)}")
    if is_named(args):
        is_given = args.url is not None
        launch, silence = _at_its_place(args, follow)
        otherwise = None if is_given else otherwise or f"{place(args)} ({args.url})"
    args.url = url(args)
    return Asked(
        args.url,
        None if follow else args.log or silence,
        allocator=args.allocator_snapshot,
        expected_cards=args.cards,
        otherwise=otherwise,
        launch=launch,
    )


def _pasted(args: argparse.Namespace) -> Snapshot:
    from unfrag.doctor import capture
    from unfrag.doctor import collect as probes
    from unfrag.errors import UsageError

    beside = [name for name in ("log", *PLACES, "allocator_snapshot") if getattr(args, name)]
    if beside:
        raise UsageError(
            f"--{beside[0].replace('_', '-')} goes with a live server; put the file into --evidence's folder"
        )
    if args.evidence.is_dir():
        return probes.evidence(args.evidence)
    if not args.evidence.is_file():
        raise UsageError(f"--evidence {args.evidence}: no such folder or capture")
    return capture.read(args.evidence)


def _at_its_place(args: argparse.Namespace, follow: bool) -> tuple[Launch | Unknown, Unknown | None]:
    """How the server is started; and why its log is not known, where none is given and none is found."""
    from unfrag.doctor.probes import launch

    launcher = launcher_named(args)
    spec = launcher.read()
    args.url = args.url if args.url is not None else url_at(spec)
    silence = None
    if args.log is None:
        found = _log_of(launcher, follow)
        args.log, silence = (found, None) if isinstance(found, Path) else (None, found)
    return launch.of_text(spec.command, str(args.config or args.compose or spec.program)), silence


def _log_of(launcher: Launcher, follow: bool) -> Path | Unknown:
    """The server's log as a file; one that a command prints is put into one."""
    from unfrag.doctor.probes.log.command import followed, spooled
    from unfrag.errors import UnfragError
    from unfrag.facts.values import Unknown

    try:
        found = launcher.log()
    except UnfragError as fault:
        return Unknown(str(fault))
    if isinstance(found, Path):
        return found
    return followed([*found, "--follow"]) if follow else spooled(found)


def _file_in(folder: Path) -> str:
    """Which file to name: the log that was written last."""
    try:
        logs = [path for pattern in _NEWEST_AMONG for path in folder.glob(pattern) if path.is_file()]
        newest = max(logs, key=lambda path: path.stat().st_mtime, default=None)
    except OSError:
        newest = None
    return f"its newest is --log {newest}" if newest else "name the one that the server writes"


def what_next(args: argparse.Namespace, snapshot: Snapshot, why: str) -> str:
    """Of a verdict that is unknown: why, and what to give so that it becomes one."""
    if args.evidence:
        return f"{snapshot.target}: {why}; add health.json or the whole log.txt"
    if not snapshot.silent:
        return f"{snapshot.target}: {why}; give its log with --log"
    from unfrag.server.client import other_scheme

    asked = f"{url(args)} cannot be asked: {_why(snapshot)}{other_scheme(url(args))}"
    if args.log is None:
        return f"{asked}; is it up, and is that its port? Give --log or --evidence too"
    return f"{_log(args, snapshot)}, and {asked}; name the server with --url"


def _log(args: argparse.Namespace, snapshot: Snapshot) -> str:
    from unfrag.facts.values import Unknown

    if isinstance(snapshot.log, Unknown):
        return f"nothing to judge by in the log: {snapshot.log.why}"
    return f"{args.log} alone does not say whether the server is healthy"


def _why(snapshot: Snapshot) -> str:
    from unfrag.facts.values import Unknown

    return next((fact.why for fact in (snapshot.pool, snapshot.metrics) if isinstance(fact, Unknown)), "no answer")
