"""``vllm serve`` with the plugin enabled next to whatever plugins were, in the foreground."""

from __future__ import annotations

import importlib.util
import os
import shlex
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from unfrag.errors import UsageError
from unfrag.flags import ours
from unfrag.flags.line import read_flags
from unfrag.flags.repair import repair_words
from unfrag.server.vllm_plugins import VARIABLE, from_environment
from unfrag.system.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_STOP_SECONDS = 8.0  # supervisor's own patience is 10 s unless told otherwise


def serve(words: list[str]) -> NoReturn:
    """Become ``vllm serve WORDS``: same process, so signals and exit codes are vLLM's own.

    Raises:
        UsageError: vLLM is not installed.
    """
    _must_have_vllm()
    if not words:
        raise UsageError("which model? unfrag serve MODEL [flags], or unfrag serve --rig")
    if words[0].startswith(("/", "./", "../")) and not os.path.isdir(words[0]):
        raise UsageError(f"{words[0]}: no such model folder")
    words, own = ours.split(words)
    os.execve(sys.executable, _command(words), {**os.environ, VARIABLE: from_environment(), **own})


def serve_rig(words: list[str], runner: str = "v1") -> int:
    """Serve the rig's model on 127.0.0.1 until SIGINT or SIGTERM; ends with everything it started. The exit code.

    Args:
        runner: vLLM's model runner, "v1" or "v2"; see :mod:`unfrag.rig.gpu_defaults`, also for ``--async-scheduling``.
    """
    _must_have_vllm()
    from unfrag.rig import environment, gpu_defaults
    from unfrag.rig.model import ensure_model

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
    command = _command([str(ensure_model()), *flags, *words])
    asked = _Asked()
    session = Session(command, env=env)
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


def _must_have_vllm() -> None:
    if importlib.util.find_spec("vllm") is None:
        raise UsageError(
            "vLLM is not installed here: pip install 'unfrag[cuda]', or 'unfrag[cpu]' for a machine without a GPU"
        )


def _command(words: list[str]) -> list[str]:
    return [sys.executable, "-m", "unfrag.engine.vllm.serve", *repair_words(words)]
