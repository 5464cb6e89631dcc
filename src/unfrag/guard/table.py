"""The table of docs/guard.md: which row applies to what is seen now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unfrag.guard.state import NOTHING, Decision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unfrag.guard.policy import Policy
    from unfrag.guard.state import Poll, State

_DOWN_ON_PURPOSE = {
    "STOPPED": "somebody stopped it; it is left so",
    "STOPPING": "somebody stops it; it is left so",
    "UNLOADED": "somebody took it from its launcher; it is left so",
}
_DOING = {
    "stopped": "a process of it is stopped (SIGSTOP)",
    "broken": "a process of it has died",
    "idle": "its processes do nothing",
    "busy": "its processes work",
    "compiling": "compilers run in it",
    None: "what its processes do cannot be seen from here",
}


def first_row(poll: Poll, state: State, policy: Policy, quiet: bool) -> Decision:
    """The first row of the table that applies; :data:`NOTHING` when none does."""
    return next(_rows(poll, state, policy, quiet), NOTHING)


def _rows(poll: Poll, state: State, policy: Policy, quiet: bool) -> Iterator[Decision]:
    """The rows of the table that apply, the first one counts."""

    def held(name: str) -> float:
        return poll.at - state.since[name] if name in state.since else -1.0

    twice = 0.75 * policy.interval  # seen by two polls, however late the second one came
    yield from _others_hands(poll)
    if held("ended") >= 0:
        yield Decision("restart", "ended", f"its launcher says {poll.launcher}")
    if held("flapping") >= policy.hang_seconds:
        yield Decision("restart", "flapping", f"it dies whenever its launcher starts it, for {held('flapping'):.0f} s")
    if held("dead") >= twice:
        yield Decision("restart", "dead", f"/health says that its engine is dead, for {held('dead'):.0f} s")
    if not state.ready and poll.answers != "ok":
        yield from _starting(poll, state, policy)
    if held("refused") >= twice:
        yield Decision("restart", "refused", f"nobody has answered on its port for {held('refused'):.0f} s")
    if held("silent") >= policy.hang_seconds:
        why = f"/health has not answered for {held('silent'):.0f} s"
        yield from _hung(poll, policy, "silent", why, held("silent"), held("still"))
    if held("stuck") >= twice:
        why = f"/health says 200, but its engine last answered {poll.age:.0f} s ago"
        yield from _hung(poll, policy, "stuck", why, poll.age or 0.0, held("still"))
    if poll.answers != "ok":
        yield Decision("none", "watching", f"{poll.answers}: not long enough to act")
    yield from _memory_rows(poll, state, policy, quiet, held("memory"), held("scattered"))
    untold = [cause for cause in poll.findings if _found(cause) not in state.paged]
    if untold:
        yield Decision("page", _found(untold[0]), f"the doctor finds {untold[0]}; no restart would cure it")
    if poll.findings:
        yield Decision("none", _found(poll.findings[0]), "a human knows")


def _others_hands(poll: Poll) -> Iterator[Decision]:
    """Somebody else is at it, or was and wants it so."""
    if poll.changing is not None:
        yield Decision("none", "changing", f"unfrag is changing its flags ({poll.changing})")
    if poll.cut_short is not None:
        why = f"a change of its flags was cut short, and its file was never verified: `{poll.cut_short}` ends it"
        yield Decision("page", "unfinished change", why)
    if poll.launcher in _DOWN_ON_PURPOSE:
        yield Decision("none", "stopped", _DOWN_ON_PURPOSE[poll.launcher])


def _starting(poll: Poll, state: State, policy: Policy) -> Iterator[Decision]:
    """A start takes as long as it takes, while something goes on; after four times that somebody should look."""
    seconds = poll.at - (state.started_at if state.started_at is not None else poll.at)
    if seconds < policy.start_seconds:
        yield Decision("none", "starting", f"for {seconds:.0f} s")
    elif poll.activity in ("busy", "compiling", "traced"):
        why = f"for {seconds:.0f} s, and {_doing(poll)}"
        yield Decision("page" if seconds >= 4 * policy.start_seconds else "none", "starting", why)


def _hung(poll: Poll, policy: Policy, rule: str, why: str, seconds: float, still: float) -> Iterator[Decision]:
    """A server that serves nobody is restarted soon where its processes stand still, and late where they work."""
    why = f"{why}; {_doing(poll)}"
    if poll.activity == "traced":
        yield Decision("none", rule, "a debugger holds it")
    elif still >= policy.hang_seconds / 2 or (seconds >= policy.busy_seconds and poll.activity != "compiling"):
        yield Decision("restart", rule, why)
    elif seconds >= policy.busy_seconds:
        yield Decision("page", rule, why)
    else:
        yield Decision("none", rule, f"{why}: it may be compiling a kernel or reading weights")


def _doing(poll: Poll) -> str:
    return _DOING.get(poll.activity, _DOING[None])


def _found(cause: str) -> str:
    return f"finding {cause}"


def _memory_rows(
    poll: Poll, state: State, policy: Policy, quiet: bool, full: float, scattered: float
) -> Iterator[Decision]:
    if full >= policy.memory_seconds:
        yield from _full(poll, state, policy, quiet, full)
    flushed = poll.at - state.flushed_at if state.flushed_at is not None else float("inf")
    who = poll.runs_matter or ("its owner says so" if policy.runs_matter else None)
    if scattered >= policy.largest_seconds and flushed >= policy.flush_cool_down and (who or policy.empties_cache):
        largest = f"the largest free run is {poll.largest_free_block} of {poll.free_blocks} free blocks"
        why = f"{largest}, for {scattered:.0f} s"
        if policy.empties_cache:
            yield Decision("flush", "scattered", why)
        else:
            yield Decision("compact", "scattered", f"{why}, and that matters to {who}")


def _full(poll: Poll, state: State, policy: Policy, quiet: bool, full: float) -> Iterator[Decision]:
    beyond = f", {poll.over_budget:.1%} of the card beyond vLLM's own budget" if poll.over_budget else ""
    why = f"memory at {poll.memory:.1%} of its limit for {full:.0f} s{beyond}"
    released = poll.at - state.released_at if state.released_at is not None else float("inf")
    if released > full:
        yield Decision("release", "memory", why)
    if released < policy.released_but_full_seconds:
        yield Decision("none", "watching", f"{why}; unused memory was given back {released:.0f} s ago")
    if poll.is_card and not policy.restart_full_cards:  # it serves; whether it is worth a restart is not for a program
        yield Decision("page", "memory", f"{why}; giving unused memory back did not help")
    elif quiet:
        yield Decision(
            "page", "memory in quiet hours", f"{why}; giving memory back did not help, and no restart is allowed now"
        )
    else:
        yield Decision("drain and restart", "memory", f"{why}; giving unused memory back did not help")
