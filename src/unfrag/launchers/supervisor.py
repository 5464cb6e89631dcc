"""A server started by supervisord."""

from __future__ import annotations

import time
import xmlrpc.client
from pathlib import Path

from unfrag.commandline import change_flags
from unfrag.errors import NotEnoughEvidence, UsageError
from unfrag.launchers import LaunchSpec, Status
from unfrag.launchers.ini import CommandPlace, find_command
from unfrag.launchers.rpc import Supervisord, find_server

_STOPPING_SECONDS = 120.0
MAIN_FILES = (Path("/etc/supervisor/supervisord.conf"), Path("/etc/supervisord.conf"))


class SupervisorProgram:
    """``[program:NAME]`` in one configuration file.

    Args:
        path: the file that holds the program, often ``/etc/supervisor/conf.d/<name>.conf``.
        program: its name.
        server: supervisord's address; when None, looked for in ``path`` and in the usual main files.
    """

    def __init__(self, path: Path, program: str, server: str | None = None) -> None:
        self._path = path
        self._program = program
        self._server = server

    def read(self) -> LaunchSpec:
        """Raises UsageError: the file cannot be read, or lacks the program."""
        try:
            content = self._path.read_bytes()
        except OSError as fault:
            raise UsageError(f"{self._path}: {fault.strerror}") from fault
        return LaunchSpec(self._path, content, self._program, self._place(content).command)

    def plan(self, spec: LaunchSpec, changes: dict[str, str | None], remove: tuple[str, ...] = ()) -> bytes:
        """See :class:`unfrag.launchers.Launcher`. A ``%`` in a value is doubled, as supervisor wants it."""
        escaped = {name: value and value.replace("%", "%%") for name, value in changes.items()}
        text = self._place(spec.content).edited(lambda command: change_flags(command, escaped, remove))
        return text.encode("utf-8", "surrogateescape")

    def restart(self) -> None:
        """``reread``, ``update`` and, when the file did not change the program, ``restart``."""
        supervisord = self._supervisord()
        try:
            added, changed, removed = supervisord.call("reloadConfig")[0]
            if self._program in changed + removed:
                self._stop(supervisord)
                supervisord.call("removeProcessGroup", self._program)
            if self._program in added + changed:
                supervisord.call("addProcessGroup", self._program)
            else:
                self._stop(supervisord)
            if not self._is_up(supervisord):
                supervisord.call("startProcess", self._program, False)
        except xmlrpc.client.Fault as fault:
            raise NotEnoughEvidence(f"supervisord refuses: {fault.faultString}; see its own log") from fault

    def status(self) -> Status:
        """Raises NotEnoughEvidence: supervisord does not answer or does not know the program."""
        try:
            info = self._supervisord().call("getProcessInfo", self._program)
        except xmlrpc.client.Fault as fault:
            raise NotEnoughEvidence(f"supervisord does not know {self._program}: {fault.faultString}") from fault
        log = info.get("stdout_logfile")
        return Status(
            state=info["statename"],
            failed=info["statename"] in ("FATAL", "EXITED", "STOPPED", "UNKNOWN"),
            pid=info["pid"],
            log=Path(log) if log else None,
        )

    def _place(self, content: bytes) -> CommandPlace:
        return find_command(content.decode("utf-8", "surrogateescape"), self._program)

    def _supervisord(self) -> Supervisord:
        server = self._server or find_server(self._path, *MAIN_FILES)
        if server is None:
            raise UsageError(f"no supervisord address in {self._path} or {MAIN_FILES[0]}; give it with --server")
        return Supervisord(server)

    def _stop(self, supervisord: Supervisord) -> None:
        """Returns when the program has stopped, also when somebody else had asked for it before."""
        try:
            supervisord.call("stopProcess", self._program)
        except xmlrpc.client.Fault as fault:
            if not fault.faultString.startswith("NOT_RUNNING"):
                raise
        deadline = time.monotonic() + _STOPPING_SECONDS
        while self._state(supervisord) == "STOPPING":
            if time.monotonic() > deadline:
                raise NotEnoughEvidence(f"{self._program} is still stopping after {_STOPPING_SECONDS:.0f} s")
            time.sleep(0.1)

    def _is_up(self, supervisord: Supervisord) -> bool:
        return self._state(supervisord) in ("STARTING", "RUNNING")

    def _state(self, supervisord: Supervisord) -> str:
        return str(supervisord.call("getProcessInfo", self._program)["statename"])
