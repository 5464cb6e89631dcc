"""What a server's log says: facts of the start, periodic load lines, failed allocations, errors.

A log may hold many starts ("lives"), the last of which is the one that matters most. Everything is bounded, whatever
the size of the log.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from unfrag.facts.values import Number

Bytes = Annotated[int, msgspec.Meta(ge=0, le=2**60)]


class Event(msgspec.Struct, frozen=True):
    """One message that a program is known to print. ``numbers``: sizes in bytes, the rest as printed."""

    kind: str
    text: str
    numbers: dict[str, Number] = {}
    words: dict[str, str] = {}
    rank: str = ""
    life: int = 0
    ready: bool = False
    """Had the server of this life begun to serve?"""
    frames: tuple[str, ...] = ()
    """``file.py:function`` of the traceback before it, outermost first."""


class Oom(msgspec.Struct, frozen=True):
    """One failed allocation, in the bytes that its message prints; None where it does not say."""

    text: str
    asked: Bytes | None = None
    total: Bytes | None = None
    free: Bytes | None = None
    mine: Bytes | None = None
    """All of this process, what is outside PyTorch included."""
    others: Bytes | None = None
    """Of other processes that the message lists by pid."""
    allocated: Bytes | None = None
    unallocated: Bytes | None = None
    """Reserved by PyTorch and not allocated."""
    private_pools: Bytes | None = None
    gpu: int | None = None
    rank: str = ""
    life: int = 0
    ready: bool = False
    loaded: bool = False
    """Had this life's weights been loaded?"""
    sized: bool = False
    """Had this life's KV cache been sized?"""
    frames: tuple[str, ...] = ()


class Load(msgspec.Struct, frozen=True):
    """One periodic line of an engine about its load. Shares are 0 to 1, rates tokens per second."""

    running: Number | None = None
    waiting: Number | None = None
    deferred: Number | None = None
    usage: Number | None = None
    hit_rate: Number | None = None
    prompt_rate: Number | None = None
    generation_rate: Number | None = None
    preemptions: Number | None = None
    rank: str = ""
    life: int = 0


class Log(msgspec.Struct, frozen=True, tag=True):
    """A log, or other pasted text, read for all of the above. ``events``: of each kind the first and the last few."""

    size: int
    """Bytes of text that were read."""
    lives: int = 0
    ready: bool = False
    """Has the last life begun to serve?"""
    events: tuple[Event, ...] = ()
    counts: dict[str, int] = {}
    ooms: tuple[Oom, ...] = ()
    loads: tuple[Load, ...] = ()
    last_line: str = ""
    terms: tuple[str, ...] = ()
    """Known words of the lines that tell of trouble; see ``doctor/probes/log/terms.py``."""
    advised: tuple[str, ...] = ()
    """Flags and variables that a program's own message advises."""
    note: str = ""
    """What kept it from being read to its end."""

    def all(self, *kinds: str) -> list[Event]:
        """Events of these kinds in the order of the log."""
        return [event for event in self.events if event.kind in kinds]

    def last(self, *kinds: str) -> Event | None:
        """The latest event of any of these kinds."""
        return next((event for event in reversed(self.events) if event.kind in kinds), None)
