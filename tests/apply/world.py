"""A launcher whose program is a few lines in a file, for more orders of events than a real server could go through.

The command in the file is what runs. A command with ``--broken`` or ``--max-num-seqs 13`` does not come up. The world
is on disk, so that a verb can be run in a child and killed at any step.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from contextlib import redirect_stderr, redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from typing import TYPE_CHECKING, NamedTuple

from unfrag import cli
from unfrag.errors import UsageError
from unfrag.launchers import LaunchSpec, Status
from unfrag.launchers.place import Place
from unfrag.launchers.supervisor.ini import find_command

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "glm_vllm"
BROKEN = ("--broken", "--max-num-seqs 13")


class Done(NamedTuple):
    code: int
    err: str


class World:
    """``file``: the configuration. ``restarts``: the commands that were started, oldest first."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self.file = folder / "glm.conf"
        self._now = folder / "now.json"

    def say(self, command: str) -> bytes:
        """A whole configuration file with this command."""
        return f"; mine\n[program:{PROGRAM}]\ncommand={command}\n".encode()

    @property
    def state(self) -> dict:
        return json.loads(self._now.read_text())

    def set(self, **changes) -> None:
        was = self.state if self._now.exists() else {"state": "STOPPED", "running": "", "started": []}
        temporary = self._now.with_suffix(".new")
        temporary.write_text(json.dumps({**was, **changes}))
        temporary.rename(self._now)

    @property
    def is_healthy(self) -> bool:
        return self.state["state"] == "RUNNING"

    def start(self) -> None:
        """What the launcher does at a restart, and a human by hand."""
        command = find_command(self.file.read_text(), PROGRAM).command
        up = not any(words in command for words in BROKEN)
        started = [*self.state["started"], command]
        self.set(state="RUNNING" if up else "FATAL", running=command if up else "", started=started)

    def run(self, *words: str, killed_at: int = 0) -> Done:
        """``unfrag`` in a child that is killed right before its n-th step, if that comes."""
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            code = 70
            try:
                code = self._in_the_child(words, killed_at, write)
            finally:
                os._exit(code)
        os.close(write)
        with os.fdopen(read) as stream:
            err = stream.read()
        _, status = os.waitpid(child, 0)
        return Done(os.waitstatus_to_exitcode(status), err)

    def _in_the_child(self, words: tuple[str, ...], killed_at: int, write: int) -> int:
        os.environ["UNFRAG_STATE"] = str(self.folder / "state")
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a test session of several workers ignores it
        launcher = Fake(self, killed_at)
        Place.launcher = lambda place: launcher  # type: ignore[method-assign,assignment,return-value]
        rename = os.rename

        def stepping(*args, **kwargs):
            launcher.step()
            return rename(*args, **kwargs)

        os.rename = stepping  # type: ignore[assignment]
        err = StringIO()
        try:
            with redirect_stderr(err), redirect_stdout(StringIO()):
                return cli.main([words[0], "--config", str(self.file), *words[1:]])
        finally:
            os.write(write, err.getvalue().encode())


class Fake:
    """A :class:`unfrag.launchers.Launcher` of that world."""

    def __init__(self, world: World, killed_at: int = 0) -> None:
        self._world, self._left = world, killed_at

    def step(self) -> None:
        self._left -= 1
        if self._left == 0:
            os._exit(137)

    def read(self) -> LaunchSpec:
        content = self._world.file.read_bytes()
        command = find_command(content.decode(), PROGRAM).command
        return LaunchSpec(self._world.file, content, PROGRAM, command, self._world.url)

    def plan(self, spec, edit) -> bytes:
        return find_command(spec.content.decode(), PROGRAM).edited(edit.of).encode()

    def warnings(self) -> list[str]:
        return []

    def restart(self) -> None:
        self.step()
        self._world.set(state="UNLOADED", running="")  # as between supervisord's remove and add
        self.step()
        self._world.start()

    def stop(self) -> None:
        self._world.set(state="STOPPED", running="")

    def status(self) -> Status:
        state = self._world.state["state"]
        return Status(state, state != "RUNNING", 1, hint="nobody has loaded it")

    def running(self) -> str:
        if not self._world.is_healthy:
            raise UsageError("nothing runs")
        return self._world.state["running"]

    def tail(self, lines: int) -> list[str]:
        log = self._world.folder / "server.log"
        return log.read_text().splitlines()[-lines:] if log.exists() else []


class Answers:
    """HTTP of whatever server the current world runs; ``world`` may be exchanged."""

    def __init__(self) -> None:
        self.world: World | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                up = outer.world is not None and outer.world.is_healthy
                models = {"data": [{"id": "m"}]}
                self._send(200 if up else 503, models if self.path == "/v1/models" else {})

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                up = outer.world is not None and outer.world.is_healthy
                self._send(200 if up else 503, {"choices": [{"text": "1"}]})

            def _send(self, code: int, body: dict) -> None:
                content = json.dumps(body).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
