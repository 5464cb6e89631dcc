"""What holds at one look, and since when: the memory between two looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from unfrag.guard.state import Restart

if TYPE_CHECKING:
    from unfrag.guard.policy import Policy
    from unfrag.guard.state import Look, State

# Supervisor's words (and systemd's, by the launcher) for a program that is not coming up by itself, or is on its way.
ENDED = ("EXITED", "FATAL", "UNKNOWN")
_TRIES_AGAIN = "BACKOFF"
_STILL = ("stopped", "broken", "idle")


def remember(look: Look, state: State, policy: Policy) -> State:
    """Conditions that hold keep their beginning; a hole between two looks ends them all."""
    hole = state.last_look is not None and look.at - state.last_look > 3 * policy.interval + 60
    since = {} if hole else dict(state.since)
    new_process = look.pid is not None and state.pid is not None and look.pid != state.pid
    started_at = look.at if new_process or state.started_at is None else state.started_at
    ready = (state.ready and not new_process) or look.answers == "ok"
    settled = None if new_process else state.settled
    if look.answers == "ok" and look.memory is not None and look.at - started_at <= policy.settle_seconds:
        settled = max(settled or 0.0, look.memory)
    for name, holds in _conditions(look, settled, policy).items():
        if holds:
            since.setdefault(name, look.at)
        else:
            since.pop(name, None)
    recent = [each for each in state.restarts if look.at - each.at < 3600]
    if recent and "well" in since and look.at - since["well"] >= policy.helped_seconds:
        recent = [Restart(each.at, helped=True) for each in recent]
    return msgspec.structs.replace(
        state,
        since=since,
        last_look=look.at,
        started_at=started_at,
        ready=ready,
        settled=settled,
        restarts=tuple(recent),
        pid=look.pid if look.pid is not None else state.pid,
    )


def _conditions(look: Look, settled: float | None, policy: Policy) -> dict[str, bool]:
    low = look.largest_free_block is not None and look.largest_free_block < policy.largest_free_block
    room = (look.free_blocks or 0) >= 2 * policy.largest_free_block
    stuck = look.answers == "ok" and look.age is not None and look.age >= policy.hang_seconds
    return {
        "ended": look.launcher in ENDED,
        "flapping": look.launcher == _TRIES_AGAIN,
        "dead": look.answers == "dead",
        "refused": look.answers == "refused" and look.launcher not in (*ENDED, _TRIES_AGAIN),
        "silent": look.answers == "silent",
        "stuck": stuck,
        "still": look.activity in _STILL,
        "well": look.answers == "ok" and not stuck,
        "memory": _is_over(look, settled, policy),
        "scattered": low and room,
    }


def _is_over(look: Look, settled: float | None, policy: Policy) -> bool:
    """By vLLM's own budget on a card; else by the limit that was named, and by what the server held once settled."""
    if look.memory is None or look.memory < policy.memory_share:
        return False
    if policy.restart_full_cards:
        return True
    if look.is_card:
        return look.over_budget is not None and look.over_budget >= policy.memory_above
    return settled is not None and look.memory >= settled + policy.memory_above
