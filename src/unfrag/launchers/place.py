"""Where a server is started from: a supervisor file, a systemd unit or a compose file; and who starts it there."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from unfrag.launchers.compose.service import ComposeService
from unfrag.launchers.supervisor.choice import USUAL, only_program
from unfrag.launchers.supervisor.program import SupervisorProgram
from unfrag.launchers.systemd import SystemdUnit
from unfrag.redaction import redact

if TYPE_CHECKING:
    from unfrag.launchers import Launcher

PROGRAM, SERVICE = USUAL, "vllm"


class Place(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``config``, ``program`` and ``server``: under supervisord; ``unit``, ``user``: systemd; ``compose``, ``service``.

    All empty: nobody is known who starts the server.
    """

    config: str = ""
    program: str = PROGRAM
    server: str | None = None
    unit: str = ""
    user: bool = False
    compose: str = ""
    service: str = SERVICE

    def launcher(self) -> Launcher | None:
        """Nothing is read or asked yet."""
        if self.unit:
            return SystemdUnit(self.unit, self.user)
        if self.compose:
            return ComposeService(Path(self.compose), self.service)
        return SupervisorProgram(Path(self.config), self.program, self.server) if self.config else None

    def words(self) -> list[str]:
        """The same on the command line; what goes without saying is left out."""
        if self.unit:
            return ["--unit", self.unit, *(["--user"] if self.user else [])]
        if self.compose:
            return ["--compose", self.compose, *(["--service", self.service] if self.service != SERVICE else [])]
        if not self.config:
            return []
        program = ["--program", self.program] if self.program != only_program(Path(self.config)) else []
        server = ["--server", self.server] if self.server is not None else []
        return ["--config", self.config, *program, *server]

    def __str__(self) -> str:
        """For people to read: a password in ``server`` is not shown."""
        return redact(shlex.join(self.words()))
