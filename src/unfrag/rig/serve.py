"""The rig's model served in the foreground, until a signal."""

from __future__ import annotations

import os
import shlex
import signal
from typing import TYPE_CHECKING

from unfrag.flags import ours
from unfrag.flags.line import read_flags
from unfrag.rig import environment, gpu_defaults
from unfrag.rig.model import ensure_model
from unfrag.server.serve import command, must_have_vllm
from unfrag.server.vllm_plugins import VARIABLE, from_environment
from unfrag.system.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_STOP_SECONDS = 8.0  # supervisor's own patience is 10 s unless told otherwise


def serve_rig(words: list[str], runner: str = "v1") -> int:
    """Serve the rig's model on 127.0.0.1 until SIGINT or SIGTERM; ends with everything it started. The exit code.

    Args:
        runner: vLLM's model runner, "v1" or "v2"; see :mod:`unfrag.rig.gpu_defaults`, also for ``--async-scheduling``.
    """
    must_have_vllm()
    words, environ = ours.split(words)
    own = read_flags(shlex.join(words))
    ranks = own.get("--tensor-parallel-size") or own.get("-tp") or "1"
    defaults = environment.server_flags()
    flags = [word for flag, value in defaults.items() if flag not in own for word in (flag, value) if word is not None]
    env = {
        **environment.environment(int(ranks) if ranks.isdecimal() else 1),
        **os.environ,
        **gpu_defaults.environment(runner, "--async-scheduling" in own),
        VARIABLE: from_environment(),
        **environ,
    }
    started = command([str(ensure_model()), *flags, *words])
    asked = _Asked()
    session = Session(started, env=env)
    try:
        asked.for_the_end()
        return session.process.wait()
    except _Stopped:
        return 0
    finally:
        session.end(signal.SIGTERM, grace=_STOP_SECONDS)


class _Stopped(Exception):
    """A signal asked for the end."""


class _Asked:
    """SIGINT and SIGTERM from now on: kept while the server is being started, raised as :class:`_Stopped` after."""

    def __init__(self) -> None:
        self._early = False
        self._handle(self._keep)

    def for_the_end(self) -> None:
        """The server is started: the signals end it. Raises _Stopped: one has come already."""
        self._handle(self._stop)
        if self._early:
            raise _Stopped

    def _handle(self, handler: Callable[[int, FrameType | None], None]) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, handler)

    def _keep(self, number: int, frame: FrameType | None) -> None:
        self._early = True

    def _stop(self, number: int, frame: FrameType | None) -> None:
        raise _Stopped
