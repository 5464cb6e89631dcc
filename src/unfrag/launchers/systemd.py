"""A server started by systemd. Its unit is never edited: a drop-in changes the command."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

from unfrag.errors import NotEnoughEvidence, UsageError
from unfrag.flags.line import must_be_short
from unfrag.flags.quote import for_systemd
from unfrag.launchers import LONGEST_LOG, Edit, LaunchSpec, Status
from unfrag.launchers.process import address, command_of
from unfrag.system.files import read_if_there

_SECONDS = 180.0  # systemd itself waits 90 s before it kills what does not stop
_JOURNAL_SECONDS = 5.0
DROP_IN = "50-unfrag.conf"
# Supervisor's words are the ones that the guard's table knows.
_STATES = {
    "active": "RUNNING",
    "reloading": "RUNNING",
    "activating": "STARTING",
    "deactivating": "STOPPING",
    "inactive": "STOPPED",
    "failed": "FATAL",
}


class SystemdUnit:
    """``UNIT.service`` of the system, or with ``user`` of this user's own systemd."""

    def __init__(self, unit: str, user: bool = False) -> None:
        self._unit = unit if "." in unit else f"{unit}.service"
        self._user = user
        self._restarted_at: float | None = None

    def read(self) -> LaunchSpec:
        """The command as unit and drop-ins say it, and our drop-in's bytes, none when there is none yet.

        Raises:
            UsageError: there is no such unit, or it has not one command.
            NotEnoughEvidence: systemd does not answer.
        """
        try:
            text = self._systemctl("cat", "--no-pager", self._unit)
        except NotEnoughEvidence as fault:
            if DROP_IN not in str(fault):
                raise
            self._systemctl("daemon-reload")  # it remembers our drop-in, which is gone
            text = self._systemctl("cat", "--no-pager", self._unit)
        commands = exec_starts(text)
        if len(commands) != 1:
            raise UsageError(f"{self._unit} has {len(commands)} ExecStart= lines; one is wanted")
        must_be_short(commands[0])
        path = self._folder() / f"{self._unit}.d" / DROP_IN
        return LaunchSpec(path, read_if_there(path), self._unit, commands[0], address(commands[0], self.running))

    def plan(self, spec: LaunchSpec, edit: Edit) -> bytes:
        """The drop-in: the unit's command with the edit made. A ``%`` or ``$`` in a value is doubled.

        Raises:
            UsageError: a value that no unit can hold.
        """
        for flag, value in edit.flags.items():
            if value is not None and re.search(r"[\r\n]", value):
                raise UsageError(f"{flag}: a unit cannot hold a line break in a value")
        command = edit.of(spec.command, for_systemd)
        if command == spec.command:
            return spec.content
        head = "# unfrag wrote this; `unfrag rollback` takes it back.\n[Service]\nExecStart=\n"
        return f"{head}ExecStart={command}\n".encode()

    def warnings(self) -> list[str]:
        """Stopping the main process alone leaves vLLM's workers behind, with their memory."""
        mode = self._systemctl("show", "--property=KillMode", self._unit).strip().partition("=")[2]
        if mode in ("", "control-group", "mixed"):
            return []
        return [f"{self._unit} has KillMode={mode}: when it is stopped, vLLM's workers live on and keep their memory"]

    def restart(self) -> None:
        self._restarted_at = time.time()
        self._systemctl("daemon-reload")
        self._systemctl("reset-failed", self._unit, check=False)
        self._systemctl("restart", self._unit)

    def stop(self) -> None:
        self._systemctl("stop", self._unit)

    def status(self) -> Status:
        """Raises NotEnoughEvidence: systemd does not answer."""
        shown = self._systemctl("show", "--property=ActiveState,SubState,MainPID", self._unit)
        said = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        state = _STATES.get(said.get("ActiveState", ""), "UNKNOWN")
        if said.get("SubState") == "auto-restart":  # it died, and systemd tries again
            state = "BACKOFF"
        return Status(state, state in ("FATAL", "BACKOFF", "STOPPED", "UNKNOWN"), int(said.get("MainPID") or 0))

    def running(self) -> str:
        return command_of(self.status().pid)

    def log(self) -> list[str]:
        return self._journal(LONGEST_LOG)

    def tail(self, lines: int) -> list[str]:
        command = self._journal(lines)
        command += [f"--since=@{self._restarted_at:.6f}"] if self._restarted_at is not None else []
        try:
            done = subprocess.run(command, capture_output=True, timeout=_JOURNAL_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return []
        return done.stdout.decode("utf-8", "replace").splitlines()

    def _journal(self, lines: int) -> list[str]:
        named = [*(["--user"] if self._user else []), "--unit", self._unit, "--lines", str(lines)]
        return ["journalctl", *named, "--output=cat", "--no-pager", "--quiet"]

    def _folder(self) -> Path:
        if not self._user:
            return Path("/etc/systemd/system")
        return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"

    def _systemctl(self, *words: str, check: bool = True) -> str:
        command = ["systemctl", *(["--user"] if self._user else []), *words]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
        except FileNotFoundError:
            raise NotEnoughEvidence("there is no systemctl here") from None
        except subprocess.TimeoutExpired:
            raise NotEnoughEvidence(f"systemd has not answered for {_SECONDS:.0f} s: {' '.join(command)}") from None
        if check and done.returncode:
            why = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise NotEnoughEvidence(f"{' '.join(command)}: {why[-1] if why else f'exit {done.returncode}'}")
        return done.stdout.decode("utf-8", "replace")


def exec_starts(text: str) -> list[str]:
    """The commands of ``systemctl cat``: continued lines joined, an empty ``ExecStart=`` takes back those before it."""
    found: list[str] = []
    section = ""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        stripped = line.strip()
        if stripped.startswith("["):
            section = stripped
        if section == "[Service]" and (match := re.match(r"ExecStart\s*=\s*(.*)", stripped)):
            found = [*found, match[1]] if match[1] else []
    return found
