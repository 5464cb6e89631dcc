"""Child processes that leave nothing behind: each starts a session of its own, which is ended as a whole."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_KILL_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)  # loaded before any fork


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the body is done: cleaning up must not be cut off half way."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Session:
    """A command in a session of its own: a Ctrl-C at the terminal reaches unfrag alone, which ends things in order.

    When unfrag dies, even by SIGKILL, the command is sent SIGTERM (Linux).
    """

    def __init__(
        self,
        command: Sequence[str],
        env: dict[str, str] | None = None,
        cwd: Path | str | None = None,
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
    ) -> None:
        self.process = subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
        )

    def processes(self) -> list[psutil.Process]:
        """Every process of the session, zombies aside."""
        return [p for p in psutil.process_iter() if _session_of(p.pid) == self.process.pid and not _is_zombie(p)]

    def end(self, *signals: signal.Signals, grace: float) -> int:
        """Send each signal to the command in turn, with ``grace`` seconds to end after it; then kill what is left.

        A Ctrl-C meanwhile changes nothing. Returns the command's exit code.
        """
        with undisturbed():
            return self._end(signals, grace)

    def _end(self, signals: Sequence[signal.Signals], grace: float) -> int:
        for sign in signals:
            if self.process.poll() is None:
                self.process.send_signal(sign)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(grace)
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
                if process.pid != self.process.pid:
                    process.wait(_KILL_SECONDS)
        return self.process.wait(_KILL_SECONDS)


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True


def _die_with_parent() -> None:
    """In the child, between fork and exec: one system call, no lock taken, so threads of the parent do not matter."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
