"""A server's process: its command line, and the address that it answers on."""

from __future__ import annotations

import contextlib
import shlex
from typing import TYPE_CHECKING

import psutil

from unfrag.errors import NotEnoughEvidence, UnfragError
from unfrag.flags.line import read_flags
from unfrag.flags.ours import FLAGS

if TYPE_CHECKING:
    from collections.abc import Callable


def address(command: str, running: Callable[[], str] | None = None) -> str:
    """The URL that a server started with this command answers on, from this machine; empty when it is not known.

    Args:
        running: gives the command line that runs, where a file leaves the port to a variable.
    """
    flags = read_flags(command)
    if running is not None and not (flags.get("--port") or "8000").isdecimal():
        with contextlib.suppress(UnfragError):
            return address(running())
    if not (flags.get("--port") or "8000").isdecimal():
        return ""
    host = flags.get("--host") or "127.0.0.1"
    host = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
    scheme = "https" if flags.get("--ssl-certfile") or flags.get("--ssl-keyfile") else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{flags.get('--port') or 8000}"


def command_of(pid: int) -> str:
    """The command line of a process; of `unfrag serve` with its own flags, which it hands on by the environment.

    Raises:
        NotEnoughEvidence: it cannot be read.
    """
    try:
        process = psutil.Process(pid)
        words = process.cmdline()
        own = _own_flags(process.environ()) if "unfrag.engine.vllm.serve" in words else []
    except (psutil.Error, ValueError) as fault:
        raise NotEnoughEvidence(f"the server's process {pid} cannot be read: {fault}") from fault
    return shlex.join([*words, *own])


def _own_flags(environment: dict[str, str]) -> list[str]:
    said = {name: environment[flag.variable] for name, flag in FLAGS.items() if flag.variable in environment}
    return [name if value == FLAGS[name].bare else f"{name}={value}" for name, value in said.items()]
