"""What the guard sees, remembers and decides, as data."""

from __future__ import annotations

from typing import Literal

import msgspec

Action = Literal["none", "compact", "flush", "release", "restart", "drain and restart", "page"]
Answer = Literal["ok", "dead", "silent", "refused"]
Activity = Literal["stopped", "traced", "broken", "compiling", "busy", "idle"]


class Poll(msgspec.Struct, frozen=True):
    """One look at a server. ``at``: seconds of a clock that never goes back. None: it was not told.

    ``answers``: ``ok`` is 200 from ``/health``, ``dead`` 503, ``silent`` no answer in time, ``refused`` nobody listens.
    ``age``: seconds since the engine itself answered. ``activity``: of its processes, since the poll before.
    ``memory``: of the fullest card or rank, over its limit. ``over_budget``: what a rank's allocator holds of its card
    beyond what vLLM allows itself, over the whole card; None: there is no card, or vLLM says no bound.
    ``runs_matter``: who in this server gains from adjacent free blocks.
    ``changing``: the change of its flags that an unfrag makes now. ``cut_short``: what ends one that a killed unfrag
    left half way; both only of a server that does not answer.
    """

    at: float
    answers: Answer
    launcher: str | None = None
    pid: int | None = None
    age: float | None = None
    activity: Activity | None = None
    steps: int | None = None
    memory: float | None = None
    is_card: bool = False
    over_budget: float | None = None
    free_blocks: int | None = None
    largest_free_block: int | None = None
    runs_matter: str | None = None
    changing: str | None = None
    cut_short: str | None = None
    findings: tuple[str, ...] = ()
    """Critical causes of the doctor's last diagnosis."""


class Restart(msgspec.Struct, frozen=True):
    """``helped``: the server was well for ``helped_seconds`` after it, or after a later one of the same incident."""

    at: float
    helped: bool = False


class State(msgspec.Struct, frozen=True):
    """What is remembered between two polls. ``since``: when each condition began to hold without a break."""

    since: dict[str, float] = {}
    last_poll: float | None = None
    started_at: float | None = None
    pid: int | None = None
    ready: bool = False
    settled: float | None = None
    """The most that a server without a card held while it settled."""
    flushed_at: float | None = None
    released_at: float | None = None
    restarts: tuple[Restart, ...] = ()
    paged: tuple[str, ...] = ()


class Decision(msgspec.Struct, frozen=True):
    """``rule`` is the row of the table; ``why`` says it with numbers."""

    action: Action
    rule: str
    why: str


NOTHING = Decision("none", "healthy", "")
