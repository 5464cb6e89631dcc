"""Programs that start and stop a server, behind one protocol: read, plan, restart, status, tail.

A change to one goes through :mod:`unfrag.apply.change`, which backs up, verifies and takes back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from unfrag.flags.line import change_flags, change_words

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LONGEST_LOG = 200_000  # lines of a log that is asked for by a command


@dataclass(frozen=True)
class LaunchSpec:
    """How a server is started now: its configuration file, its bytes, the command in it, and where it answers.

    ``url`` is empty where the file leaves the port to a variable and the server does not run.
    """

    path: Path
    content: bytes
    program: str
    command: str
    url: str


@dataclass(frozen=True)
class Edit:
    """What is to change in a server's command.

    Attributes:
        flags: to be set; None: bare.
        removed: flags to take out.
        words: other words, and what shall stand in their place.
    """

    flags: dict[str, str | None] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    words: dict[str, str] = field(default_factory=dict)

    def of(self, command: str, escape: Callable[[str], str] = lambda value: value) -> str:
        """The command with the edit made; ``escape``: how its file spells the text of a value."""
        escaped = {name: value and escape(value) for name, value in self.flags.items()}
        return change_flags(change_words(command, self.words), escaped, self.removed)


@dataclass(frozen=True)
class Status:
    """What the launcher says of the program. ``failed`` means it will not come up by itself.

    ``state``: in supervisor's words; ``UNLOADED``: the launcher answers and has no such program, ``hint`` says more.
    """

    state: str
    failed: bool
    pid: int
    hint: str = ""


class Launcher(Protocol):
    def read(self) -> LaunchSpec: ...

    def plan(self, spec: LaunchSpec, edit: Edit) -> bytes:
        """The file's new content: the command with the edit made, every other byte the same."""

    def warnings(self) -> list[str]:
        """What in the server's configuration will bring trouble at a restart, one line each."""

    def restart(self) -> None:
        """Make the launcher read its file again and start the program anew. Returns before the server is ready."""

    def stop(self) -> None:
        """Stop the program and leave it stopped."""

    def status(self) -> Status: ...

    def running(self) -> str:
        """The command line of the server that runs now. Raises NotEnoughEvidence: it cannot be read."""

    def log(self) -> Path | list[str]:
        """The file of the server's log, or a command that prints it, and goes on with ``--follow``.

        Raises:
            NotEnoughEvidence: it is not known.
        """

    def tail(self, lines: int) -> list[str]:
        """The last lines of the server's log since this launcher restarted it; none where it cannot be read."""
