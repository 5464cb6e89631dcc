"""What names a server's place under supervisord or systemd, on the command lines of several verbs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from unfrag.launchers import Launcher


def add_place(parser: argparse.ArgumentParser, required: bool) -> None:
    where = parser.add_mutually_exclusive_group(required=required)
    where.add_argument("--config", type=Path, help="the supervisor file with the program")
    where.add_argument("--unit", help="the systemd unit; a drop-in changes its command")
    parser.add_argument("--user", action="store_true", help="the unit is one of this user's own systemd")
    parser.add_argument("--program", default="glm_vllm", help="its name in that file (default: %(default)s)")
    parser.add_argument("--server", help="supervisord: unix:///path or http://host:port (default: from its files)")


def launcher_of(
    config: Path | None, program: str, server: str | None, unit: str | None = None, user: bool = False
) -> Launcher | None:
    """The launcher that these name; None when they name none."""
    from unfrag.launchers.supervisor import SupervisorProgram
    from unfrag.launchers.systemd import SystemdUnit

    if unit:
        return SystemdUnit(unit, user)
    return SupervisorProgram(config, program, server) if config is not None else None


def place(args: argparse.Namespace) -> str:
    """The same, as it is said on the command line."""
    if args.unit is not None:
        return f"--unit {args.unit}{' --user' if args.user else ''}"
    return f"--config {args.config}"
