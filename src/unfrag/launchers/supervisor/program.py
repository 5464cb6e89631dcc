"""A server started by supervisord."""

from __future__ import annotations

import re
import time
import xmlrpc.client
from pathlib import Path
from typing import Any

from unfrag.errors import NotEnoughEvidence, UnfragError, UsageError
from unfrag.flags.line import must_be_short
from unfrag.flags.quote import for_supervisor
from unfrag.launchers import Edit, LaunchSpec, Status
from unfrag.launchers.process import address, command_of
from unfrag.launchers.supervisor.choice import programs
from unfrag.launchers.supervisor.ini import (
    LARGEST,
    CommandPlace,
    expanded,
    find_command,
    included,
    must_be_startable,
    options,
)
from unfrag.launchers.supervisor.rpc import SHORT_SECONDS, STOPPING_SECONDS, Supervisord, find_server
from unfrag.server.ready import End, end_of, tail
from unfrag.system.files import read_file

_STOPPED_SECONDS = 120.0
_LOGS = ("stdout_logfile", "stderr_logfile")
MAIN_FILES = (Path("/etc/supervisor/supervisord.conf"), Path("/etc/supervisord.conf"))


class SupervisorProgram:
    """``[program:NAME]`` in one configuration file.

    Args:
        path: the file that holds the program, often ``/etc/supervisor/conf.d/<name>.conf``, or a main file that
            includes it.
        program: its name.
        server: supervisord's address; when None, looked for in ``path`` and in the usual main files.
    """

    def __init__(self, path: Path, program: str, server: str | None = None) -> None:
        self._path = path
        self._program = program
        self._server = server
        self._ends: dict[Path, End] = {}

    def read(self) -> LaunchSpec:
        """Raises UsageError: the file cannot be read, or lacks the program."""
        path, content = self._found()
        try:
            command = self._place(content).command
            must_be_short(command)
        except UsageError as fault:
            raise UsageError(f"{path}: {fault}") from fault
        return LaunchSpec(path, content, self._program, command, address(command, self.running))

    def plan(self, spec: LaunchSpec, edit: Edit) -> bytes:
        """See :class:`unfrag.launchers.Launcher`. A ``%`` in a value is doubled, as supervisor wants it.

        Raises:
            UsageError: a value that no INI file can hold, or a command that supervisord cannot read.
        """
        for flag, value in edit.flags.items():
            if value is not None and re.search(r"[\r\n]|\s[;#]", value):
                raise UsageError(f"{flag}: a supervisor file cannot hold a line break, or a ; or # behind a space")
        must_be_startable(_text(spec.content), self._program)
        text = self._place(spec.content).edited(lambda command: edit.of(command, for_supervisor))
        return text.encode("utf-8", "surrogateescape")

    def warnings(self) -> list[str]:
        """Workers that outlive a stop, with their memory; and backslashes, which supervisord hands to the server."""
        spec = self.read()
        found = []
        if re.search(r"\\\r?\n", spec.command):
            found.append(
                f"command= of [program:{self._program}] has lines that end in a backslash: supervisord joins indented "
                "lines by itself and hands the backslash's line end to the server as part of a word; take them out"
            )
        said = options(_text(spec.content), f"program:{self._program}")
        on = {key: said.get(key, "").lower() in ("true", "yes", "on", "1") for key in ("stopasgroup", "killasgroup")}
        missing = [f"{key}=true" for key, is_on in on.items() if not is_on and not on["stopasgroup"]]
        if missing:
            found.append(
                f"[program:{self._program}] lacks {' and '.join(missing)}: when it is stopped, vLLM's workers can live "
                "on and keep their memory; add it"
            )
        return found

    def restart(self) -> None:
        """``reread``, ``update`` and, when the file did not change the program, ``restart``."""
        supervisord = self._supervisord(STOPPING_SECONDS)
        try:
            known = self._info(supervisord)
            self._ends = {log: end_of(log) for log in _logs(known or {})}
            group = known["group"] if known else self._program
            added, changed, removed = supervisord.call("reloadConfig")[0]
            if group in changed + removed:
                self._stop(supervisord)
                supervisord.call("removeProcessGroup", group)
            if group in added + changed:
                supervisord.call("addProcessGroup", group)
            else:
                self._stop(supervisord)
            info = self._must_know(supervisord)
            if info["statename"] not in ("STARTING", "RUNNING"):
                supervisord.call("startProcess", _full_name(info), False)
        except xmlrpc.client.Fault as fault:
            raise NotEnoughEvidence(f"supervisord refuses: {fault.faultString}; see its own log") from fault

    def stop(self) -> None:
        self._stop(self._supervisord(STOPPING_SECONDS))

    def status(self) -> Status:
        """Raises NotEnoughEvidence: supervisord does not answer."""
        info = self._info(self._supervisord())
        if info is None:
            return Status("UNLOADED", failed=True, pid=0, hint=self._unknown())
        state = info["statename"]
        return Status(state, state in ("FATAL", "EXITED", "STOPPED", "UNKNOWN"), info["pid"])

    def running(self) -> str:
        return command_of(self.status().pid)

    def tail(self, lines: int) -> list[str]:
        found = [tail(log, lines, self._ends.get(log)) for log in _logs(self._info(self._supervisord()) or {})]
        return next(filter(None, found), [])

    def log(self) -> Path:
        """Raises NotEnoughEvidence: neither supervisord nor the file names one that is there."""
        try:
            logs = _logs(self._info(self._supervisord()) or {})
        except UnfragError:  # it is not running
            logs = []
        if not logs:
            path, content = self._found()
            said = options(_text(content), f"program:{self._program}")
            named = {key: expanded(said.get(key, ""), path, self._program) for key in _LOGS}
            logs = _logs({key: name for key, name in named.items() if name.startswith("/")})
        if not logs:
            raise NotEnoughEvidence(f"no log of {self._program} is found; name it with --log")
        return next((log for log in logs if log.stat().st_size), logs[0])

    def _found(self) -> tuple[Path, bytes]:
        """The file that has the program: the named one, or one that it includes."""
        content = read_file(self._path, LARGEST)
        if not options(_text(content), f"program:{self._program}"):
            for name in included(self._path, _text(content)):
                inside = read_file(Path(name), LARGEST)
                if options(_text(inside), f"program:{self._program}"):
                    return Path(name), inside
            if known := ", ".join(programs(self._path)):
                raise UsageError(
                    f"{self._path}: no [program:{self._program}] there or in what it includes; they have: {known}. "
                    "Name the right one with --program"
                )
        return self._path, content

    def _place(self, content: bytes) -> CommandPlace:
        return find_command(_text(content), self._program)

    def _supervisord(self, seconds: float = SHORT_SECONDS) -> Supervisord:
        server = self._server or find_server(self._path, *MAIN_FILES)
        if server is None:
            raise UsageError(f"no supervisord address in {self._path} or {MAIN_FILES[0]}; give it with --server")
        return Supervisord(server, seconds)

    def _info(self, supervisord: Supervisord) -> dict[str, Any] | None:
        """Raises UsageError: the program is several processes, or cannot be restarted without others of its group."""
        every = supervisord.call("getAllProcessInfo")
        found = [info for info in every if self._program in (info["group"], info["name"])]
        if not found:
            return None
        group = [_full_name(info) for info in every if info["group"] == found[0]["group"]]
        if len(group) > 1:
            raise UsageError(
                f"supervisord restarts a changed group as a whole, and {self._program} is in one with others: "
                f"{', '.join(sorted(group)[:6])}. Give it a program of its own, numprocs=1 and no [group:…]"
            )
        return dict(found[0])

    def _must_know(self, supervisord: Supervisord) -> dict[str, Any]:
        info = self._info(supervisord)
        if info is None:
            raise NotEnoughEvidence(self._unknown())
        return info

    def _unknown(self) -> str:
        return f"supervisord does not know {self._program}; `supervisorctl update` loads its file"

    def _stop(self, supervisord: Supervisord) -> None:
        """Returns when the program has stopped, also when somebody else had asked for it before."""
        try:
            supervisord.call("stopProcess", _full_name(self._must_know(supervisord)))
        except xmlrpc.client.Fault as fault:
            if not fault.faultString.startswith("NOT_RUNNING"):
                raise
        deadline = time.monotonic() + _STOPPED_SECONDS
        while self._must_know(supervisord)["statename"] == "STOPPING":
            if time.monotonic() > deadline:
                raise NotEnoughEvidence(f"{self._program} is still stopping after {_STOPPED_SECONDS:.0f} s")
            time.sleep(0.1)


def _logs(info: dict[str, Any]) -> list[Path]:
    """What the program writes to, the last written first."""
    logs = [Path(info[key]) for key in _LOGS if info.get(key)]
    return sorted(filter(Path.is_file, logs), key=lambda log: log.stat().st_mtime, reverse=True)


def _full_name(info: dict[str, Any]) -> str:
    return f"{info['group']}:{info['name']}"


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")
