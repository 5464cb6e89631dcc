"""How every verb names a server: by its place under supervisord, systemd or compose, or by its address."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from unfrag.launchers import Launcher, LaunchSpec
    from unfrag.launchers.place import Place

URL = "http://127.0.0.1:8000"
PLACES = ("config", "unit", "compose")


def add_place(parser: argparse.ArgumentParser, required: bool) -> None:
    """Where the server is started from."""
    where = parser.add_mutually_exclusive_group(required=required)
    where.add_argument(
        "--config", type=Path, metavar="FILE", help="the supervisor file with the program, or one that includes it"
    )
    where.add_argument("--unit", metavar="UNIT", help="the systemd unit; a drop-in changes its command")
    where.add_argument(
        "--compose", type=Path, metavar="FILE", help="the compose file; an override beside it changes the command"
    )
    parser.add_argument(
        "--program", metavar="NAME", help="its name in the supervisor file (default: the one that starts vLLM)"
    )
    parser.add_argument(
        "--server", metavar="ADDRESS", help="supervisord: unix:///path or http://host:port (default: from its files)"
    )
    parser.add_argument("--user", action="store_true", help="the unit is one of this user's own systemd")
    parser.add_argument(
        "--service", metavar="NAME", default="vllm", help="its name in the compose file (default: %(default)s)"
    )


def add_target(parser: argparse.ArgumentParser) -> None:
    """The same for a verb that needs an address and nothing else."""
    parser.add_argument(
        "--url", metavar="URL", help=f"the server's address (default: its place says, without one {URL})"
    )
    add_place(parser, required=False)


def place(args: argparse.Namespace) -> Place:
    """What the arguments name; paths as they were given. Raises UsageError: which program is meant is not clear."""
    from unfrag.launchers.place import Place

    config = str(args.config or "")
    return Place(
        config=config,
        program=args.program or (_program(args.config) if config else Place().program),
        server=args.server,
        unit=args.unit or "",
        user=args.user,
        compose=str(args.compose or ""),
        service=args.service,
    )


def _program(path: Path) -> str:
    from unfrag.errors import UsageError
    from unfrag.launchers.supervisor.choice import only_program, programs

    found = only_program(path)
    if found is None:
        known = ", ".join(programs(path))
        raise UsageError(f"{path} has several programs: {known}. Name the one that is meant with --program")
    return found


def is_named(args: argparse.Namespace) -> bool:
    """Is the server's place among the arguments?"""
    return any(getattr(args, name) is not None for name in PLACES)


def launcher_named(args: argparse.Namespace) -> Launcher:
    """By the arguments, of which one is required."""
    from unfrag.errors import UsageError

    launcher = place(args).launcher()
    if launcher is None:
        raise UsageError("--config, --unit or --compose is empty: name the server's place")
    return launcher


def url(args: argparse.Namespace) -> str:
    """The server's address: the one that is given, that of its place, or the usual one.

    Raises:
        UsageError: its place cannot be read, or leaves the port to a variable while it does not run.
    """
    if args.url is not None:
        return str(args.url)
    return url_at(launcher_named(args).read()) if is_named(args) else URL


def url_at(spec: LaunchSpec) -> str:
    """The address of a server at a place. Raises UsageError: the place leaves the port to a variable."""
    from unfrag.errors import UsageError

    if not spec.url:
        raise UsageError(f"the port of {spec.program} is a variable, and it does not run: name it with --url")
    return spec.url
