"""What names a server's place under supervisord, systemd or compose, on the command lines of several verbs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from unfrag.launchers import Launcher
    from unfrag.launchers.place import Place


def add_place(parser: argparse.ArgumentParser, required: bool) -> None:
    where = parser.add_mutually_exclusive_group(required=required)
    where.add_argument("--config", type=Path, help="the supervisor file with the program, or one that includes it")
    where.add_argument("--unit", help="the systemd unit; a drop-in changes its command")
    where.add_argument("--compose", type=Path, help="the compose file; an override beside it changes the command")
    parser.add_argument("--user", action="store_true", help="the unit is one of this user's own systemd")
    parser.add_argument("--program", default="glm_vllm", help="its name in that file (default: %(default)s)")
    parser.add_argument("--server", help="supervisord: unix:///path or http://host:port (default: from its files)")
    parser.add_argument("--service", default="vllm", help="its name in the compose file (default: %(default)s)")


def place(args: argparse.Namespace) -> Place:
    """What the arguments name; paths as they were given."""
    from unfrag.launchers.place import Place

    return Place(
        config=str(args.config or ""),
        program=args.program,
        server=args.server,
        unit=args.unit or "",
        user=args.user,
        compose=str(args.compose or ""),
        service=args.service,
    )


def launcher_named(args: argparse.Namespace) -> Launcher:
    """By the arguments, of which one is required."""
    from unfrag.errors import UsageError

    launcher = place(args).launcher()
    if launcher is None:
        raise UsageError("--config, --unit or --compose is empty: name the server's place")
    return launcher
