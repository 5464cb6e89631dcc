"""Do a server's processes work, or stand still? Told from the outside, between two polls."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable

    from unfrag.guard.state import Activity

_COMPILERS = frozenset(
    ("nvcc", "cicc", "ptxas", "ninja", "fatbinary", "nvlink", "cc1plus", "cc1", "c++", "g++", "gcc", "clang", "ld")
)
_BUSY_CORES = 0.2  # of one process: what spins, computes or compiles takes more, what waits and is polled takes less
_READS_PER_SECOND = 1 << 20


class _Used(NamedTuple):
    cpu_seconds: float
    read_bytes: int


class Processes:
    """A server's process and all below it. ``clock``: seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._root: int | None = None
        self._before: dict[tuple[int, float], _Used] = {}
        self._at = 0.0

    def activity(self, pid: int | None) -> Activity | None:
        """Since the call before; None at the first call for a process, and where it cannot be told.

        A process that was there before and is a zombie now has died. What answers ``/health`` is left out where there
        are others below it: to be asked is no work.
        """
        now = self._clock()
        try:
            root = psutil.Process(pid) if pid else None
            every = [root, *root.children(recursive=True)] if root is not None else []
            used = {(each.pid, each.create_time()): _used(each) for each in every}
            states = {key: each.status() for key, each in zip(used, every, strict=True)}
            names = {each.name() for each in every if each.status() != psutil.STATUS_ZOMBIE}
        except psutil.Error:
            return None
        before, seconds, same = self._before, now - self._at, pid == self._root
        self._before, self._at, self._root = used, now, pid
        if not every or not same or seconds <= 0:
            return None
        died = any(state == psutil.STATUS_ZOMBIE and key in before for key, state in states.items())
        workers = list(used)[1:] or list(used)
        work = [_since(used[key], before.get(key, _Used(0.0, 0))) for key in workers]
        return _judge(set(states.values()), died, names, work, seconds)


def _judge(states: set[str], died: bool, names: set[str], work: list[_Used], seconds: float) -> Activity:
    if psutil.STATUS_TRACING_STOP in states:
        return "traced"
    if psutil.STATUS_STOPPED in states:
        return "stopped"
    if died:
        return "broken"
    if names & _COMPILERS:
        return "compiling"
    computes = any(one.cpu_seconds > _BUSY_CORES * seconds for one in work)
    reads = sum(one.read_bytes for one in work) > _READS_PER_SECOND * seconds
    return "busy" if computes or reads else "idle"


def _used(process: psutil.Process) -> _Used:
    cpu = process.cpu_times()
    try:
        read = process.io_counters().read_chars if hasattr(process, "io_counters") else 0
    except psutil.Error:  # of another user
        read = 0
    return _Used(cpu.user + cpu.system, read)


def _since(now: _Used, before: _Used) -> _Used:
    return _Used(now.cpu_seconds - before.cpu_seconds, now.read_bytes - before.read_bytes)
