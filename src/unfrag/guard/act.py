"""Carries out what was decided."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from unfrag.errors import NotEnoughEvidence
from unfrag.facts.snapshot import Metrics
from unfrag.server.client import Server

if TYPE_CHECKING:
    from threading import Event

    from unfrag.guard.state import Action
    from unfrag.guard.targets import Target
    from unfrag.launchers import Launcher

_FLUSH_SECONDS, _POLL_SECONDS = 60.0, 1.0
_PARTS: dict[Action, dict[str, bool]] = {
    "flush": {},
    "compact": {"cached": False, "allocator": False, "compact": True},
    "release": {"cached": False, "allocator": True, "compact": False},
}


def act(action: Action, target: Target, launcher: Launcher | None, drain_seconds: float, stop: Event) -> str:
    """What came of it, in a line.

    Raises:
        NotEnoughEvidence: it could not be done; the line says why.
    """
    if action in _PARTS:
        return _flush(target, _PARTS[action])
    if action in ("restart", "drain and restart"):
        if launcher is None:
            raise NotEnoughEvidence("nobody is known who could restart it: name its supervisor file (config)")
        drained = _drain(target, drain_seconds, stop) if action == "drain and restart" else ""
        launcher.restart()
        return f"{drained}restarted"
    return ""


def _flush(target: Target, parts: dict[str, bool]) -> str:
    with Server(target.url) as server:
        done = server.flush(_FLUSH_SECONDS, parts)
    if not parts.get("compact", True):
        return "unused memory was given back"
    try:
        runs = f"{done['before']['largest_free_block']} to {done['after']['largest_free_block']} blocks in one run"
        moved = done.get("compaction") or {}
        return f"{runs}; nothing more is moved: {moved['why']}" if moved.get("why") else runs
    except (LookupError, TypeError, AttributeError):
        return "flushed"


def _drain(target: Target, seconds: float, stop: Event) -> str:
    """Admit nobody new and wait for those who are in; what could not be waited for is lost, and said."""
    started = time.monotonic()
    try:
        with Server(target.url) as server:
            server.drain(seconds + 60)
            while time.monotonic() - started < seconds and not stop.wait(_POLL_SECONDS):
                found = server.metrics()
                if isinstance(found, Metrics) and not (found.running or found.waiting):
                    return f"drained in {time.monotonic() - started:.0f} s, "
    except NotEnoughEvidence as fault:
        return f"could not be drained ({fault}), "
    if stop.is_set():
        raise NotEnoughEvidence("the guard was stopped in the middle of a drain: nothing was restarted")
    return f"not empty after {seconds:.0f} s of draining, "
