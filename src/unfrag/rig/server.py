"""A rig: real vLLM under a real supervisord, in a folder of its own, on free ports, gone without a trace.

::

    folder/supervisord.conf            unix socket, log, include of conf.d
    folder/conf.d/glm47flash.conf      [program:glm_vllm], shaped like the article's
    folder/glm_vllm.log
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from unfrag.errors import NeverReady, NotEnoughEvidence
from unfrag.flags.line import change_flags
from unfrag.flags.quote import for_supervisor
from unfrag.launchers.supervisor.program import SupervisorProgram
from unfrag.launchers.supervisor.rpc import Supervisord
from unfrag.rig import environment, gpu_defaults
from unfrag.rig.model import ensure_model
from unfrag.server.ready import tail, wait_ready
from unfrag.system.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    import psutil

PROGRAM = "glm_vllm"


class Rig:
    """Start with ``with Rig(...) as rig``; whatever happens inside, no process is left behind.

    Args:
        flags: vLLM flags next to the rig's own (None: bare flag).
        env: more environment for the server.
        model: folder of a model; the rig's own when None.
        ranks: tensor-parallel ranks.
        runner: vLLM's model runner, "v1" or "v2".
        asynchronous: schedule a step while the one before runs, as on a GPU.
        keep: leave the folder (configuration and logs) in place at the end.
    """

    def __init__(
        self,
        flags: dict[str, str | None] | None = None,
        env: dict[str, str] | None = None,
        model: Path | None = None,
        ranks: int = 1,
        keep: bool = False,
        runner: str = "v1",
        asynchronous: bool = False,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="unfrag-rig-"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = self.folder / f"{PROGRAM}.log"
        self.config = self.folder / "conf.d" / "glm47flash.conf"
        self.server = f"unix://{self.folder}/supervisor.sock"
        self._flags = dict(flags or {})
        self._env = gpu_defaults.environment(runner, asynchronous) | (env or {})
        self._model = model
        self._ranks = ranks
        self._keep = keep
        self._supervisord: Session | None = None
        if ranks > 1:
            self._flags["--tensor-parallel-size"] = str(ranks)

    @property
    def launcher(self) -> SupervisorProgram:
        return SupervisorProgram(self.config, PROGRAM, self.server)

    def __enter__(self) -> Self:
        try:
            self._write_configuration(self._model or ensure_model())
            self._start_supervisord()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait_ready(self, timeout: float = 180.0, progress: Callable[[str], None] = lambda line: None) -> float:
        """Seconds until the server answered. Raises NeverReady with the log's last lines."""
        return wait_ready(self.url, timeout, self._gave_up, lambda lines: tail(self.log, lines), progress)

    def _gave_up(self) -> str | None:
        status = self.launcher.status()
        return f"will not come up: supervisord says {status.state}" if status.failed else None

    def close(self) -> None:
        """Stop the server and supervisord; then kill whatever of the rig still runs. May be called twice."""
        if self._supervisord is not None:
            self._supervisord.end(signal.SIGTERM, grace=30)  # it stops its programs, then itself
        if not self._keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def processes(self) -> list[psutil.Process]:
        """Every living process of this rig: all that share supervisord's session."""
        return self._supervisord.processes() if self._supervisord is not None else []

    def _write_configuration(self, model: Path) -> None:
        if not (model / "config.json").is_file():
            raise NotEnoughEvidence(f"{model} is not a model folder: it has no config.json")
        command = change_flags(environment.command(model, self.port), self._flags)
        env = environment.environment(self._ranks) | self._env
        pairs = ",".join(f'{name}="{for_supervisor(value)}"' for name, value in env.items())
        self.config.parent.mkdir()
        self.config.write_text(
            f"[program:{PROGRAM}]\n"
            f"command={for_supervisor(command)}\n"
            f"environment={pairs}\n"
            f"directory={self.folder}\n"
            "autostart=true\n"
            "autorestart=false\n"
            "startretries=0\n"
            "startsecs=1\n"
            "stopwaitsecs=20\n"
            "stopasgroup=true\n"
            "killasgroup=true\n"
            "redirect_stderr=true\n"
            f"stdout_logfile={self.log}\n"
        )
        (self.folder / "supervisord.conf").write_text(
            f"[unix_http_server]\nfile={self.folder}/supervisor.sock\nchmod=0700\n\n"
            f"[supervisord]\nlogfile={self.folder}/supervisord.log\npidfile={self.folder}/supervisord.pid\n"
            f"nodaemon=true\n\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\n"
            f"[supervisorctl]\nserverurl=unix://{self.folder}/supervisor.sock\n\n"
            "[include]\nfiles = conf.d/*.conf\n"
        )

    def _start_supervisord(self) -> None:
        command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(self.folder / "supervisord.conf")]
        self._supervisord = Session(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            if self._supervisord.process.poll() is not None or time.monotonic() > deadline:
                last = " | ".join(tail(self.folder / "supervisord.log", 3)) or "it left no log"
                raise NeverReady(f"supervisord did not start: {last}")
            try:
                Supervisord(self.server).call("getState")
            except NotEnoughEvidence:
                time.sleep(0.05)
            else:
                return


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
