"""What holds at one poll, and since when: the memory between two polls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from unfrag.guard.state import Restart

if TYPE_CHECKING:
    from unfrag.guard.policy import Policy
    from unfrag.guard.state import Poll, State

# Supervisor's words (and systemd's, by the launcher) for a program that is not coming up by itself, or is on its way.
ENDED = ("EXITED", "FATAL", "UNKNOWN")
_TRIES_AGAIN = "BACKOFF"
_STILL = ("stopped", "broken", "idle")


def remember(poll: Poll, state: State, policy: Policy) -> State:
    """Conditions that hold keep their beginning; a hole between two polls ends them all."""
    hole = state.last_poll is not None and poll.at - state.last_poll > 3 * policy.interval + 60
    since = {} if hole else dict(state.since)
    new_process = poll.pid is not None and state.pid is not None and poll.pid != state.pid
    started_at = poll.at if new_process or state.started_at is None else state.started_at
    ready = (state.ready and not new_process) or poll.answers == "ok"
    settled = None if new_process else state.settled
    if poll.answers == "ok" and poll.memory is not None and poll.at - started_at <= policy.settle_seconds:
        settled = max(settled or 0.0, poll.memory)
    for name, holds in _conditions(poll, settled, policy).items():
        if holds:
            since.setdefault(name, poll.at)
        else:
            since.pop(name, None)
    recent = [each for each in state.restarts if poll.at - each.at < 3600]
    if recent and "well" in since and poll.at - since["well"] >= policy.helped_seconds:
        recent = [Restart(each.at, helped=True) for each in recent]
    return msgspec.structs.replace(
        state,
        since=since,
        last_poll=poll.at,
        started_at=started_at,
        ready=ready,
        settled=settled,
        restarts=tuple(recent),
        pid=poll.pid if poll.pid is not None else state.pid,
    )


def _conditions(poll: Poll, settled: float | None, policy: Policy) -> dict[str, bool]:
    low = poll.largest_free_block is not None and poll.largest_free_block < policy.largest_free_block
    room = (poll.free_blocks or 0) >= 2 * policy.largest_free_block
    stuck = poll.answers == "ok" and poll.age is not None and poll.age >= policy.hang_seconds
    return {
        "ended": poll.launcher in ENDED,
        "flapping": poll.launcher == _TRIES_AGAIN,
        "dead": poll.answers == "dead",
        "refused": poll.answers == "refused" and poll.launcher not in (*ENDED, _TRIES_AGAIN),
        "silent": poll.answers == "silent",
        "stuck": stuck,
        "still": poll.activity in _STILL,
        "well": poll.answers == "ok" and not stuck,
        "memory": _is_over(poll, settled, policy),
        "scattered": low and room,
    }


def _is_over(poll: Poll, settled: float | None, policy: Policy) -> bool:
    """By vLLM's own budget on a card; else by the limit that was named, and by what the server held once settled."""
    if poll.memory is None or poll.memory < policy.memory_share:
        return False
    if policy.restart_full_cards:
        return True
    if poll.is_card:
        return poll.over_budget is not None and poll.over_budget >= policy.memory_above
    return settled is not None and poll.memory >= settled + policy.memory_above
