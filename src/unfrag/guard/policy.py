"""What to do about one server: a pure function from what was seen to a decision. The table is in docs/guard.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

Action = Literal["none", "compact", "flush", "release", "restart", "drain and restart", "page"]
Answer = Literal["ok", "dead", "silent", "refused"]
Activity = Literal["stopped", "traced", "broken", "compiling", "busy", "idle"]

# Supervisor's words (and systemd's, by the launcher) for a program that is not coming up by itself, or is on its way.
ENDED = ("EXITED", "FATAL", "UNKNOWN")
_TRIES_AGAIN = "BACKOFF"
_UNFINISHED_SECONDS = 600.0
_DOWN_ON_PURPOSE = ("STOPPED", "STOPPING")
_STILL: tuple[Activity | None, ...] = ("stopped", "broken", "idle")
_DOING = {
    "stopped": "a process of it is stopped (SIGSTOP)",
    "broken": "a process of it has died",
    "idle": "its processes do nothing",
    "busy": "its processes work",
    "compiling": "compilers run in it",
    None: "what its processes do cannot be seen from here",
}


class Look(msgspec.Struct, frozen=True):
    """One look at a server. ``at``: seconds of a clock that never goes back. None: it was not told.

    ``answers``: ``ok`` is 200 from ``/health``, ``dead`` 503, ``silent`` no answer in time, ``refused`` nobody listens.
    ``age``: seconds since the engine itself answered. ``activity``: of its processes, since the look before.
    ``memory``: of the fullest card or rank, over its limit. ``over_budget``: what a rank's allocator holds of its card
    beyond what vLLM allows itself, over the whole card; None: there is no card, or vLLM says no bound.
    ``runs_matter``: who in this server gains from adjacent free blocks.
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
    findings: tuple[str, ...] = ()
    """Critical causes of the doctor's last diagnosis."""


Seconds = Annotated[float, msgspec.Meta(ge=0, le=31_536_000)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Times = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
TimeOfDay = Annotated[str, msgspec.Meta(pattern=r"^(?:(?:[01]\d|2[0-3]):[0-5]\d)?$")]


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds, blocks and shares at which something is done. ``data/policies/article.toml`` has the article's own."""

    interval: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 5.0
    start_seconds: Seconds = 900.0
    """A server that was started may take this long to answer, and longer while its processes work."""
    hang_seconds: Seconds = 45.0
    """An engine that has not moved, or a silent server, whose processes do nothing."""
    busy_seconds: Seconds = 600.0
    """The same where its processes work: a kernel may be compiled, or weights read."""
    memory_share: Share = 0.95
    memory_seconds: Seconds = 120.0
    memory_above: Share = 0.03
    """Beyond vLLM's own budget of the card, as a share of it; without a card, beyond what it held once settled."""
    settle_seconds: Seconds = 600.0
    """So long after its start what a server without a card holds is taken for ordinary."""
    released_but_full_seconds: Seconds = 300.0
    restart_full_cards: bool = False
    """Any card above ``memory_share`` is flushed and restarted, whatever vLLM allows itself."""
    largest_free_block: Times = 50
    largest_seconds: Seconds = 300.0
    flush_cool_down: Seconds = 1800.0
    runs_matter: bool = False
    """Something in the server gains from adjacent free blocks that the guard cannot see."""
    empties_cache: bool = False
    """A scattered pool and the night end in a flush of the whole prefix cache, whether anybody gains by it or not."""
    restarts_an_hour: Times = 3
    """That did not help."""
    again_seconds: Seconds = 30.0
    """After the first restart in vain it waits so long for the next, after the second twice as long."""
    helped_seconds: Seconds = 60.0
    """A server that was well for so long after a restart was helped by it."""
    most_restarts_an_hour: Times = 10
    quiet_from: TimeOfDay = ""
    """``HH:MM``: between this and ``quiet_to`` no server that still serves is restarted."""
    quiet_to: TimeOfDay = ""
    nightly: TimeOfDay = "02:00"
    """At this time of day blocks are moved together where that matters; empty: never. A missed night is made up for."""
    drain_seconds: Seconds = 60.0
    doctor_seconds: Seconds = 300.0
    """Between two diagnoses; 0: none are made."""


def contradiction(policy: Policy) -> str | None:
    """What in a policy would make a healthy server look ill; None when nothing does."""
    for name in ("hang_seconds", "busy_seconds"):
        if (limit := getattr(policy, name)) < policy.interval:
            return f"{name} {limit:g} is below the interval {policy.interval:g}: every server would look hung"
    if policy.busy_seconds < policy.hang_seconds:
        return f"busy_seconds {policy.busy_seconds:g} is below hang_seconds {policy.hang_seconds:g}"
    return None


class Restart(msgspec.Struct, frozen=True):
    """``helped``: the server was well after it for ``helped_seconds``."""

    at: float
    helped: bool = False


class State(msgspec.Struct, frozen=True):
    """What is remembered between two looks. ``since``: when each condition began to hold without a break."""

    since: dict[str, float] = {}
    last_look: float | None = None
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


def decide(look: Look, state: State, policy: Policy, quiet: bool = False) -> tuple[Decision, State]:
    """The decision, and the state after it, in which what is decided counts as done."""
    state = _remember(look, state, policy)
    decision = _judge(look, state, policy, quiet)
    if decision.action in ("restart", "drain and restart"):
        if (spent := _spent(look, state, policy)) is not None:
            return _page(Decision("page", "budget", f"{decision.why}; {spent}"), state)
        if (wait := _wait(look, state, policy)) > 0:
            return Decision("none", decision.rule, f"{decision.why}; restarted again in {wait:.0f} s"), state
        restarted = msgspec.structs.replace(
            state,
            restarts=(*state.restarts, Restart(look.at)),
            since={},
            started_at=look.at,
            ready=False,
            settled=None,
            flushed_at=None,
            released_at=None,
        )
        return decision, restarted
    if decision.action in ("flush", "compact"):
        return decision, msgspec.structs.replace(state, flushed_at=look.at)
    if decision.action == "release":
        return decision, msgspec.structs.replace(state, released_at=look.at)
    if decision.action == "page":
        return _page(decision, state)
    if decision.rule == "healthy" and state.paged:
        state = msgspec.structs.replace(state, paged=())
    return decision, state


def at_night(look: Look, policy: Policy, why: str) -> Decision:
    """Once a night: blocks together where somebody gains by that; the article's flush where the policy wants it."""
    if policy.empties_cache:
        return Decision("flush", "nightly", why)
    if look.runs_matter or policy.runs_matter:
        return Decision("compact", "nightly", why)
    return NOTHING


def _spent(look: Look, state: State, policy: Policy) -> str | None:
    """Why there is no further restart for now, and when there is; None: there is one."""
    in_vain = [each.at for each in state.restarts if not each.helped]
    every = [each.at for each in state.restarts]
    if len(in_vain) >= policy.restarts_an_hour:
        oldest, what = in_vain[0], f"{len(in_vain)} restarts in the last hour did not help"
    elif len(every) >= policy.most_restarts_an_hour:
        oldest, what = every[0], f"{len(every)} restarts in the last hour helped for a while each"
    else:
        return None
    minutes = max(1.0, (oldest + 3600 - look.at) / 60)
    return f"{what}: it is left to you, and tried again in {minutes:.0f} min"


def _wait(look: Look, state: State, policy: Policy) -> float:
    """Seconds to the next restart: one that did not help at once may have come too soon for memory to be free."""
    in_vain = sum(not each.helped for each in state.restarts)
    return state.restarts[-1].at + policy.again_seconds * in_vain - look.at if in_vain else 0.0


def unfinished(look: Look, since: float) -> Literal["restart", "wait", "drop"]:
    """What becomes of a restart that was begun at ``since`` and not seen to its end.

    It is made only where the server is still down for want of it: a server that answers, or is on its way, or that
    somebody has stopped since, is judged by the table like any other.
    """
    if look.answers == "ok" or look.at - since > _UNFINISHED_SECONDS:
        return "drop"
    if look.launcher == "STOPPING":
        return "wait"
    return "restart" if look.launcher in ("STOPPED", None) else "drop"


def _page(decision: Decision, state: State) -> tuple[Decision, State]:
    """A human is told once, until the server is healthy again."""
    if decision.rule in state.paged:
        return Decision("none", decision.rule, decision.why), state
    return decision, msgspec.structs.replace(state, paged=(*state.paged, decision.rule))


def _remember(look: Look, state: State, policy: Policy) -> State:
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
        recent[-1] = Restart(recent[-1].at, helped=True)
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


def _judge(look: Look, state: State, policy: Policy, quiet: bool) -> Decision:
    return next(_rows(look, state, policy, quiet), NOTHING)


def _rows(look: Look, state: State, policy: Policy, quiet: bool) -> Iterator[Decision]:
    """The rows of the table that apply, the first one counts."""

    def held(name: str) -> float:
        return look.at - state.since[name] if name in state.since else -1.0

    twice = 0.75 * policy.interval  # seen by two looks, however late the second one came
    if look.launcher in _DOWN_ON_PURPOSE:
        yield Decision("none", "stopped", "somebody stopped it; it is left so")
    if held("ended") >= 0:
        yield Decision("restart", "ended", f"its launcher says {look.launcher}")
    if held("flapping") >= policy.hang_seconds:
        yield Decision("restart", "flapping", f"it dies whenever its launcher starts it, for {held('flapping'):.0f} s")
    if held("dead") >= twice:
        yield Decision("restart", "dead", f"/health says that its engine is dead, for {held('dead'):.0f} s")
    if not state.ready and look.answers != "ok":
        yield from _starting(look, state, policy)
    if held("refused") >= twice:
        yield Decision("restart", "refused", f"nobody has answered on its port for {held('refused'):.0f} s")
    if held("silent") >= policy.hang_seconds:
        why = f"/health has not answered for {held('silent'):.0f} s"
        yield from _hung(look, policy, "silent", why, held("silent"), held("still"))
    if held("stuck") >= twice:
        why = f"/health says 200, but its engine last answered {look.age:.0f} s ago"
        yield from _hung(look, policy, "stuck", why, look.age or 0.0, held("still"))
    if look.answers != "ok":
        yield Decision("none", "watching", f"{look.answers}: not long enough to act")
    yield from _memory_rows(look, state, policy, quiet, held("memory"), held("scattered"))
    untold = [cause for cause in look.findings if _found(cause) not in state.paged]
    if untold:
        yield Decision("page", _found(untold[0]), f"the doctor finds {untold[0]}; no restart would cure it")
    if look.findings:
        yield Decision("none", _found(look.findings[0]), "a human knows")


def _starting(look: Look, state: State, policy: Policy) -> Iterator[Decision]:
    """A start takes as long as it takes, while something goes on; after four times that somebody should look."""
    seconds = look.at - (state.started_at if state.started_at is not None else look.at)
    if seconds < policy.start_seconds:
        yield Decision("none", "starting", f"for {seconds:.0f} s")
    elif look.activity in ("busy", "compiling", "traced"):
        why = f"for {seconds:.0f} s, and {_doing(look)}"
        yield Decision("page" if seconds >= 4 * policy.start_seconds else "none", "starting", why)


def _hung(look: Look, policy: Policy, rule: str, why: str, seconds: float, still: float) -> Iterator[Decision]:
    """A server that serves nobody is restarted soon where its processes stand still, and late where they work."""
    why = f"{why}; {_doing(look)}"
    if look.activity == "traced":
        yield Decision("none", rule, "a debugger holds it")
    elif still >= policy.hang_seconds / 2 or (seconds >= policy.busy_seconds and look.activity != "compiling"):
        yield Decision("restart", rule, why)
    elif seconds >= policy.busy_seconds:
        yield Decision("page", rule, why)
    else:
        yield Decision("none", rule, f"{why}: it may be compiling a kernel or reading weights")


def _doing(look: Look) -> str:
    return _DOING.get(look.activity, _DOING[None])


def _found(cause: str) -> str:
    return f"finding {cause}"


def _memory_rows(
    look: Look, state: State, policy: Policy, quiet: bool, full: float, scattered: float
) -> Iterator[Decision]:
    if full >= policy.memory_seconds:
        yield from _full(look, state, policy, quiet, full)
    flushed = look.at - state.flushed_at if state.flushed_at is not None else float("inf")
    who = look.runs_matter or ("its owner says so" if policy.runs_matter else None)
    if scattered >= policy.largest_seconds and flushed >= policy.flush_cool_down and (who or policy.empties_cache):
        largest = f"the largest free run is {look.largest_free_block} of {look.free_blocks} free blocks"
        why = f"{largest}, for {scattered:.0f} s"
        if policy.empties_cache:
            yield Decision("flush", "scattered", why)
        else:
            yield Decision("compact", "scattered", f"{why}, and that matters to {who}")


def _full(look: Look, state: State, policy: Policy, quiet: bool, full: float) -> Iterator[Decision]:
    beyond = f", {look.over_budget:.1%} of the card beyond vLLM's own budget" if look.over_budget else ""
    why = f"memory at {look.memory:.1%} of its limit for {full:.0f} s{beyond}"
    released = look.at - state.released_at if state.released_at is not None else float("inf")
    if released > full:
        yield Decision("release", "memory", why)
    if released < policy.released_but_full_seconds:
        yield Decision("none", "watching", f"{why}; unused memory was given back {released:.0f} s ago")
    if look.is_card and not policy.restart_full_cards:  # it serves; whether it is worth a restart is not for a program
        yield Decision("page", "memory", f"{why}; giving unused memory back did not help")
    elif quiet:
        yield Decision(
            "page", "memory in quiet hours", f"{why}; giving memory back did not help, and no restart is allowed now"
        )
    else:
        yield Decision("drain and restart", "memory", f"{why}; giving unused memory back did not help")
