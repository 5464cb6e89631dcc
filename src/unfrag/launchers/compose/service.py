"""A server started by compose, by docker or podman. Its files are never edited: an override changes the command."""

from __future__ import annotations

import io
import json
import shlex
import shutil
import subprocess
from functools import cache
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from unfrag.errors import NotEnoughEvidence, UsageError
from unfrag.flags.line import must_be_short
from unfrag.flags.quote import for_compose
from unfrag.launchers import LONGEST_LOG, Edit, LaunchSpec, Status
from unfrag.launchers.compose import yaml_file
from unfrag.launchers.process import address
from unfrag.system.files import read_if_there, read_text

if TYPE_CHECKING:
    from pathlib import Path

_SECONDS = 180.0
_SHORT_SECONDS = 10.0
_HEAD = "# unfrag wrote this; `unfrag rollback` takes it back."
_TOOLS = (("docker", "compose"), ("docker-compose",), ("podman", "compose"), ("podman-compose",))
# Supervisor's words are the ones that the guard's table knows.
_STATES = {
    "running": "RUNNING",
    "paused": "RUNNING",
    "created": "STARTING",
    "restarting": "BACKOFF",  # it died, and its restart policy tries again
    "removing": "STOPPING",
    "exited": "EXITED",
    "stopped": "EXITED",
    "dead": "FATAL",
}


class ComposeService:
    """``services.NAME`` of a compose file.

    What compose reads beside that file by itself (``docker-compose.override.yml``) is read too. Ours takes that name
    while nobody else has it, so that a plain ``docker compose up`` finds it; else it is ``docker-compose.unfrag.yml``.
    """

    def __init__(self, path: Path, service: str) -> None:
        self._path = path = path.resolve()  # compose is run in its folder
        self._service = service
        overrides = [path.with_name(f"{path.stem}.override{suffix}") for suffix in (".yml", ".yaml")]
        self._theirs = [file for file in overrides if file.exists() and not _is_ours(file)]
        own = path.with_name(f"{path.stem}.override{path.suffix}")
        self._ours = path.with_name(f"{path.stem}.unfrag{path.suffix}") if self._theirs else own

    def read(self) -> LaunchSpec:
        """The service's command, from the last file that has one, and our override's bytes, none when there is none.

        Raises:
            UsageError: a file cannot be read, there is no such service, or it leaves its command to the image.
        """
        service = self._merged()
        command = service.get("command")
        if not isinstance(command, str | list) or not command:
            why = "takes its command from what it extends" if service.get("extends") else "leaves it to the image"
            raise UsageError(f"{self._path}: {self._service} has no command of its own and {why}; write it there first")
        line = command if isinstance(command, str) else shlex.join(map(str, command))
        must_be_short(line)
        try:
            shlex.split(line)
        except ValueError as fault:
            raise UsageError(f"{self._path}: the command of {self._service} cannot be read: {fault}") from fault
        url = _published(service, address(line, self.running))
        return LaunchSpec(self._ours, read_if_there(self._ours), self._service, line, url)

    def plan(self, spec: LaunchSpec, edit: Edit) -> bytes:
        """The override with the edit made in this service's command; all else stays. A ``$`` in a value is doubled.

        A command that was one text stays one: compose fills in its variables before it is split.
        """
        command = edit.of(spec.command, for_compose)
        if command == spec.command:
            return spec.content
        yaml = YAML(pure=True)
        yaml.width = 4096
        text = spec.content.decode("utf-8", "replace")
        override = yaml_file.load(text, str(self._ours), keep_form=True) if text else {}
        services = override.setdefault("services", {}) if isinstance(override, dict) else None
        service = services.setdefault(self._service, {}) if isinstance(services, dict) else None
        if not isinstance(service, dict):
            raise UsageError(f"{self._ours} is no compose file: its services are no table")
        service["command"] = command if isinstance(self._merged()["command"], str) else shlex.split(command)
        written = io.BytesIO()
        yaml.dump(override, written)
        head = b"" if spec.content.startswith(_HEAD.encode()) else f"{_HEAD}\n".encode()
        return head + written.getvalue()

    def _merged(self) -> dict[str, Any]:
        """The service, each key as the last of its files has it. Raises UsageError: there is none."""
        service: dict[str, Any] = {}
        for file in self._files():
            service.update(self._in(file))
        if not service:
            raise UsageError(f"{self._path} has no service {self._service}; name the right one with --service")
        return service

    def _files(self) -> list[Path]:
        """What compose is given, in its order."""
        return [self._path, *self._theirs, *([self._ours] if self._ours.exists() else [])]

    def warnings(self) -> list[str]:
        """A container that is restarted for ever, whatever a guard's budget says."""
        policy = str(self._in(self._path).get("restart", "no"))
        if policy not in ("always", "unless-stopped"):
            return []
        return [
            f"{self._service} has restart: {policy}: a server that cannot come up is started again without end; "
            "on-failure:3 ends it, and the guard pages you"
        ]

    def restart(self) -> None:
        """``up --force-recreate`` of this service alone."""
        tool, _ = _tools()
        named = [word for file in self._files() for word in ("-f", str(file))]
        _run([*tool, *named, "up", "-d", "--no-deps", "--force-recreate", self._service], self._path.parent)

    def stop(self) -> None:
        _engine("stop", self._container(), seconds=_SECONDS)

    def status(self) -> Status:
        """Raises NotEnoughEvidence: the container engine does not answer."""
        container = self._found()
        if container is None:
            return Status("UNLOADED", failed=True, pid=0, hint=self._unknown())
        said = _inspected(container)["State"]
        state = _STATES.get(str(said.get("Status", "")).lower(), "UNKNOWN")
        if state == "EXITED" and said.get("ExitCode") in (0, 137, 143):
            state = "STOPPED"  # somebody stopped it: TERM, or KILL after it
        failed = state in ("FATAL", "BACKOFF", "EXITED", "STOPPED", "UNKNOWN")
        return Status(state, failed, int(said.get("Pid") or 0))

    def running(self) -> str:
        found = _inspected(self._container())
        return shlex.join([found["Path"], *found["Args"]])

    def log(self) -> list[str]:
        """Raises NotEnoughEvidence: there is no container."""
        container = self._container()
        return [_tools()[1], "logs", "--tail", str(LONGEST_LOG), container]

    def tail(self, lines: int) -> list[str]:
        try:
            said = _engine("logs", "--tail", str(lines), self._container())
        except NotEnoughEvidence:
            return []
        return said.splitlines()[-lines:]

    def _in(self, file: Path) -> dict[str, Any]:
        found = yaml_file.load(read_text(file, yaml_file.LARGEST), str(file))
        services = found.get("services") if isinstance(found, dict) else None
        service = services.get(self._service) if isinstance(services, dict) else None
        return service if isinstance(service, dict) else {}

    def _container(self) -> str:
        """Raises NotEnoughEvidence: there is none."""
        found = self._found()
        if found is None:
            raise NotEnoughEvidence(self._unknown())
        return found

    def _unknown(self) -> str:
        return f"there is no container of {self._service}; start it once with compose up -d"

    def _found(self) -> str | None:
        labels = {
            "com.docker.compose.service": self._service,
            "com.docker.compose.project.working_dir": str(self._path.parent),
        }
        filters = [word for key, value in labels.items() for word in ("--filter", f"label={key}={value}")]
        return next(iter(_engine("ps", "--all", "--quiet", *filters).split()), None)


def _inspected(container: str) -> dict[str, Any]:
    try:
        (found,) = json.loads(_engine("inspect", container))
    except ValueError as fault:
        raise NotEnoughEvidence(f"inspect does not answer with one container: {fault}") from fault
    return dict(found)


def _published(service: dict[str, Any], own: str) -> str:
    """The server's address on this machine: its published port, or its own where it shares the network."""
    inside = own.rpartition(":")[2] or "8000"
    ports = service.get("ports")
    for port in ports if isinstance(ports, list) else ():
        if isinstance(port, dict):
            if str(port.get("target")) == inside and port.get("published"):
                return f"http://127.0.0.1:{port['published']}"
            continue
        *outside, target = str(port).split("/")[0].rsplit(":", 2)
        if target == inside and outside and outside[-1].isdecimal():
            return f"http://127.0.0.1:{outside[-1]}"
    return own


def _is_ours(file: Path) -> bool:
    try:
        return read_if_there(file).startswith(_HEAD.encode())
    except UsageError:
        return False


@cache
def _tools() -> tuple[tuple[str, ...], str]:
    """(compose, engine): the first pair whose engine answers, looked for once. Raises NotEnoughEvidence: none does."""
    tried = []
    for tool in _TOOLS:
        engine = tool[0].removesuffix("-compose")
        if shutil.which(tool[0]) is None or shutil.which(engine) is None:
            continue
        try:
            _run([engine, "ps", "--quiet"], None, _SHORT_SECONDS)
            _run([*tool, "version"], None, _SHORT_SECONDS)
        except NotEnoughEvidence as fault:
            tried.append(str(fault))
        else:
            return tool, engine
    raise NotEnoughEvidence(tried[0] if tried else "there is no docker compose and no podman-compose here")


def _engine(*words: str, seconds: float = _SHORT_SECONDS) -> str:
    """What docker or podman says. Raises NotEnoughEvidence."""
    _, engine = _tools()
    return _run([engine, *words], None, seconds)


def _run(command: list[str], folder: Path | None, seconds: float = _SECONDS) -> str:
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=False, cwd=folder)
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise NotEnoughEvidence(f"{' '.join(command[:3])}: {fault}") from fault
    if done.returncode:
        why = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
        raise NotEnoughEvidence(f"{' '.join(command[:3])}: {why[-1] if why else f'exit {done.returncode}'}")
    return (done.stdout + (done.stderr if command[1] == "logs" else b"")).decode("utf-8", "replace")
