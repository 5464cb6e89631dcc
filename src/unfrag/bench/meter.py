"""How far a bench is, and about how long it will still take."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_LEVELS = 6  # that a search for the maximum concurrency usually tries


@dataclass(frozen=True)
class Step:
    """``done`` of ``total`` requests are behind it; ``seconds_left`` is None before the first are."""

    what: str
    done: int
    total: int
    seconds_left: float | None

    @property
    def left(self) -> str:
        """For a human; empty where it is not known."""
        if self.seconds_left is None:
            return ""
        if self.seconds_left < 90:
            return f"about {max(1, round(self.seconds_left))} s left"
        return f"about {round(self.seconds_left / 60)} min left"


class Meter:
    """Counts requests, since a level of a search takes as long as it has.

    Args:
        passes: requests of all passes together.
        level: requests of a usual level of the search; 0: there is none.
        tell: called with each step as it begins, and once at the end.
    """

    def __init__(
        self, passes: int, level: int, tell: Callable[[Step], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._left, self._level, self._levels_left = passes, level, _LEVELS if level else 0
        self._done = self._requests = 0
        self._tell, self._clock = tell, clock
        self._seconds, self._began = 0.0, 0.0

    def begin(self, what: str, requests: int, searching: bool = False) -> None:
        """A pass or a level begins."""
        self._requests = requests
        if searching:
            self._left = requests
            self._levels_left = max(0, self._levels_left - 1)
        self._began = self._clock()
        self._tell(self._now(what))

    def end(self, what: str) -> Step:
        """It has ended; how far that is."""
        self._seconds += self._clock() - self._began
        self._done += self._requests
        self._left = max(0, self._left - self._requests)
        step = self._now(what)
        self._tell(step)
        return step

    def _now(self, what: str) -> Step:
        left = self._left + self._levels_left * self._level
        each = self._seconds / self._done if self._done else None
        return Step(what, self._done, self._done + left, None if each is None else each * left)
