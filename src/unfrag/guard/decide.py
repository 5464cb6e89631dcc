"""What to do about one server: a pure function from what was seen to a decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from unfrag.guard.conditions import remember
from unfrag.guard.state import NOTHING, Decision, Restart
from unfrag.guard.table import first_row

if TYPE_CHECKING:
    from unfrag.guard.policy import Policy
    from unfrag.guard.state import Poll, State

_UNFINISHED_SECONDS = 600.0


def decide(poll: Poll, state: State, policy: Policy, quiet: bool = False) -> tuple[Decision, State]:
    """The decision, and the state after it, in which what is decided counts as done."""
    state = remember(poll, state, policy)
    decision = first_row(poll, state, policy, quiet)
    if decision.action in ("restart", "drain and restart"):
        return _restart(decision, poll, state, policy)
    if decision.action in ("flush", "compact"):
        return decision, msgspec.structs.replace(state, flushed_at=poll.at)
    if decision.action == "release":
        return decision, msgspec.structs.replace(state, released_at=poll.at)
    if decision.action == "page":
        return _page(decision, state)
    if decision.rule == "healthy" and state.paged:
        state = msgspec.structs.replace(state, paged=())
    return decision, state


def _restart(decision: Decision, poll: Poll, state: State, policy: Policy) -> tuple[Decision, State]:
    """Within the budget; else later, or a page."""
    if (spent := _spent(poll, state, policy)) is not None:
        return _page(Decision("page", "budget", f"{decision.why}; {spent}"), state)
    if (wait := _wait(poll, state, policy)) > 0:
        return Decision("none", decision.rule, f"{decision.why}; restarted again in {wait:.0f} s"), state
    return decision, msgspec.structs.replace(
        state,
        restarts=(*state.restarts, Restart(poll.at)),
        since={},
        started_at=poll.at,
        ready=False,
        settled=None,
        flushed_at=None,
        released_at=None,
    )


def at_night(poll: Poll, policy: Policy, why: str) -> Decision:
    """Once a night: blocks together where somebody gains by that; the article's flush where the policy wants it."""
    if policy.empties_cache:
        return Decision("flush", "nightly", why)
    if poll.runs_matter or policy.runs_matter:
        return Decision("compact", "nightly", why)
    return NOTHING


def _spent(poll: Poll, state: State, policy: Policy) -> str | None:
    """Why there is no further restart for now, and when there is; None: there is one."""
    in_vain = [each.at for each in state.restarts if not each.helped]
    every = [each.at for each in state.restarts]
    if len(in_vain) >= policy.restarts_an_hour:
        oldest, what = in_vain[0], f"{len(in_vain)} restarts in the last hour did not help"
    elif len(every) >= policy.most_restarts_an_hour:
        oldest, what = every[0], f"{len(every)} restarts in the last hour helped for a while each"
    else:
        return None
    minutes = max(1.0, (oldest + 3600 - poll.at) / 60)
    return f"{what}: it is left to you, and tried again in {minutes:.0f} min"


def _wait(poll: Poll, state: State, policy: Policy) -> float:
    """Seconds to the next restart: one that did not help at once may have come too soon for memory to be free."""
    in_vain = sum(not each.helped for each in state.restarts)
    return state.restarts[-1].at + policy.again_seconds * in_vain - poll.at if in_vain else 0.0


def unfinished(poll: Poll, since: float, pid: int | None) -> Literal["restart", "wait", "drop"]:
    """What becomes of a restart that was begun at ``since`` and not seen to its end.

    It is made only where the server is still down for want of it: a server that answers, or is on its way, or that
    somebody has stopped since, or whose flags are being changed, is judged by the table like any other.

    Args:
        pid: of the process that was to be restarted.
    """
    if poll.answers == "ok" or poll.at - since > _UNFINISHED_SECONDS or poll.changing or poll.cut_short:
        return "drop"
    if poll.launcher == "STOPPING":
        return "wait"
    never_stopped = poll.pid is not None and poll.pid == pid
    return "restart" if never_stopped or poll.launcher in ("STOPPED", "UNLOADED", None) else "drop"


def _page(decision: Decision, state: State) -> tuple[Decision, State]:
    """A human is told once, until the server is healthy again."""
    if decision.rule in state.paged:
        return Decision("none", decision.rule, decision.why), state
    return decision, msgspec.structs.replace(state, paged=(*state.paged, decision.rule))
