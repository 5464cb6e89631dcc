"""Programs that start and stop a server, behind one protocol: read, plan, write, restart, status.

A change to one goes through :mod:`unfrag.launchers.change`, which backs up, verifies and takes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class LaunchSpec:
    """How a server is started now: its configuration file, its bytes, and the command in it."""

    path: Path
    content: bytes
    program: str
    command: str


@dataclass(frozen=True)
class Status:
    """What the launcher says of the program. ``failed`` means it will not come up by itself."""

    state: str
    failed: bool
    pid: int
    log: Path | None


class Launcher(Protocol):
    def read(self) -> LaunchSpec: ...

    def plan(self, spec: LaunchSpec, changes: dict[str, str | None], remove: tuple[str, ...]) -> bytes:
        """The file's new content: the command with these flags set or removed, every other byte the same."""

    def restart(self) -> None:
        """Make the launcher read its file again and start the program anew. Returns before the server is ready."""

    def status(self) -> Status: ...
