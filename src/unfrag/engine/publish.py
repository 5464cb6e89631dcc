"""The engine's own account of itself: a thread beside it reads the pool at a bounded rate and hands that to who waits.

The engine's thread is never asked for a reading, so a reading is young however long a step takes, and a step pays
nothing for it but the interpreter's lock for some hundred microseconds. An API server keeps one question waiting; it is
answered with the next reading, and its next question shows that the engine's thread still takes calls.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from unfrag.engine.pool.reading import Scan, read_pool, scan
from unfrag.engine.vllm import core, features

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY_SECONDS = 0.5
# Walking all blocks may take this share of the time; a large pool is walked less often than it is read.
_SHARE = 0.005
_LEAST_SCAN_SECONDS = 0.2

Reading = dict[str, Any]


class Publisher:
    """One per engine core. Its thread starts when somebody first waits, and sleeps while nobody does."""

    def __init__(self, engine_core: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine_core, self._clock = engine_core, clock
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, Future[tuple[int, Reading]]]] = []
        """From which number on a reading answers it."""
        self._number = self._begun = 0
        self._wanted = 0  # readings up to this number are made at once
        self._last: Reading = {}
        self._scan: Scan | None = None
        self._scan_due = float("-inf")
        self._steps, self._stepped_at = -1, clock()
        self._closed_until = float("-inf")
        self._thread: threading.Thread | None = None

    def next(self, seen: int, now: bool) -> Future[tuple[int, Reading]]:
        """``(number, reading)`` of the first reading after number ``seen``; with ``now``, of one begun after this call.

        A reading is :func:`read_pool` with ``age_seconds`` (since when the engine, having work, has made no step; 0
        when it has none), ``idle``, and ``closed_seconds`` (for how long it still lets no request in).
        """
        future: Future[tuple[int, Reading]] = Future()
        with self._changed:
            first = self._soon() if now else seen + 1
            if self._number >= first:
                future.set_result((self._number, self._last))
            else:
                self._waiting.append((first, future))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="unfrag-publisher", daemon=True)
                self._thread.start()
            self._changed.notify()
        return future

    def close_for(self, seconds: float) -> None:
        """API servers let no request in for so long, each as soon as it hears of it, which is at once."""
        with self._changed:
            self._closed_until = self._clock() + seconds
            self._soon()
            self._changed.notify()

    def _soon(self) -> int:
        """The next reading that has not begun is made at once; its number."""
        self._wanted = max(self._number, self._begun) + 1
        return self._wanted

    def _run(self) -> None:
        due = self._clock()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._wanted > self._number)
                self._changed.wait_for(lambda: self._wanted > self._number, max(0.0, due - self._clock()))
                fresh = self._wanted > self._number
                self._begun = self._number + 1
            try:
                reading = self._read(fresh)
            except Exception as fault:  # the pool changes while it is read; what cannot be read now can be later
                features.failed("health", f"{type(fault).__name__}: {fault}")
                reading = None
            due = self._clock() + EVERY_SECONDS
            self._publish(reading)

    def _publish(self, reading: Reading | None) -> None:
        with self._changed:
            self._number = number = self._begun
            self._last = reading if reading is not None else self._last
            answered = [future for first, future in self._waiting if first <= number]
            self._waiting = [(first, future) for first, future in self._waiting if first > number]
        for future in answered:
            if reading is None:
                future.set_exception(RuntimeError("the pool could not be read"))
            else:
                future.set_result((number, reading))

    def _read(self, fresh: bool) -> Reading:
        now = self._clock()
        if fresh or now >= self._scan_due:
            self._scan = scan(core.block_pool(self._engine_core), _let_the_engine_run)
            done = self._clock()
            self._scan_due = done + max(_LEAST_SCAN_SECONDS, (done - now) / _SHARE)
        reading = read_pool(self._engine_core, self._scan)
        now = self._clock()
        idle = core.is_idle(self._engine_core)
        if idle or reading["steps"] != self._steps:
            self._steps, self._stepped_at = reading["steps"], now
        return {
            **reading,
            "age_seconds": now - self._stepped_at,
            "idle": idle,
            "closed_seconds": max(0.0, self._closed_until - now),
        }


def publisher_of(engine_core: Any) -> Publisher:
    """The engine core's one, made when it is first asked for."""
    if not hasattr(engine_core, "_unfrag_publisher"):
        engine_core._unfrag_publisher = Publisher(engine_core)
    publisher: Publisher = engine_core._unfrag_publisher
    return publisher


def _let_the_engine_run() -> None:
    """Gives the interpreter's lock away for a moment."""
    time.sleep(0)
