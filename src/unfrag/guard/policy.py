"""What to do about one server: a pure function from what was seen to a decision. The table is in docs/guard.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

Action = Literal["none", "flush", "restart", "drain and restart", "page"]
Answer = Literal["ok", "dead", "silent", "refused"]

# Supervisor's words (and systemd's, by the launcher) for a program that is not coming up by itself, or is on its way.
ENDED = ("EXITED", "FATAL", "UNKNOWN")
_TRIES_AGAIN = "BACKOFF"
_UNFINISHED_SECONDS = 600.0
_DOWN_ON_PURPOSE = ("STOPPED", "STOPPING")


class Look(msgspec.Struct, frozen=True):
    """One look at a server. ``at``: seconds of a clock that never goes back. None: it was not told.

    ``answers``: ``ok`` is 200 from ``/health``, ``dead`` 503, ``silent`` no answer in time, ``refused`` nobody listens.
    ``age``: seconds since the engine itself answered. ``memory``: of the fullest card or rank, over its limit.
    """

    at: float
    answers: Answer
    launcher: str | None = None
    pid: int | None = None
    age: float | None = None
    steps: int | None = None
    memory: float | None = None
    free_blocks: int | None = None
    largest_free_block: int | None = None
    findings: tuple[str, ...] = ()
    """Critical causes of the doctor's last diagnosis."""


Seconds = Annotated[float, msgspec.Meta(ge=0, le=31_536_000)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Times = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
TimeOfDay = Annotated[str, msgspec.Meta(pattern=r"^(?:(?:[01]\d|2[0-3]):[0-5]\d)?$")]


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds, blocks and shares at which something is done. Defaults are the article's, made safe."""

    interval: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 30.0
    start_seconds: Seconds = 900.0
    """A server that was started may take this long to answer."""
    hang_seconds: Seconds = 120.0
    memory_share: Share = 0.95
    memory_seconds: Seconds = 120.0
    memory_above_baseline: Share = 0.03
    """A server fills its card by design. Only what it holds beyond its own level after the start counts."""
    flushed_but_full_seconds: Seconds = 300.0
    largest_free_block: Times = 50
    largest_seconds: Seconds = 300.0
    flush_cool_down: Seconds = 1800.0
    restarts_an_hour: Times = 3
    quiet_from: TimeOfDay = ""
    """``HH:MM``: between this and ``quiet_to`` no server that still serves is restarted."""
    quiet_to: TimeOfDay = ""
    nightly: TimeOfDay = "02:00"
    """Flush at this time of day; empty: never. A night that was slept through is made up for."""
    drain_seconds: Seconds = 60.0
    doctor_seconds: Seconds = 300.0
    """Between two diagnoses; 0: none are made."""


class State(msgspec.Struct, frozen=True):
    """What is remembered between two looks. ``since``: when each condition began to hold without a break."""

    since: dict[str, float] = {}
    last_look: float | None = None
    started_at: float | None = None
    pid: int | None = None
    ready: bool = False
    baseline: float | None = None
    flushed_at: float | None = None
    restarts: tuple[float, ...] = ()
    paged: tuple[str, ...] = ()


class Decision(msgspec.Struct, frozen=True):
    """``rule`` is the row of the table; ``why`` says it with numbers."""

    action: Action
    rule: str
    why: str


NOTHING = Decision("none", "healthy", "")


def decide(look: Look, state: State, policy: Policy, quiet: bool = False) -> tuple[Decision, State]:
    """The decision, and the state after it, in which a restart or flush that is decided counts as done."""
    state = _remember(look, state, policy)
    decision = _judge(look, state, policy, quiet)
    if decision.action in ("restart", "drain and restart"):
        recent = tuple(at for at in state.restarts if look.at - at < 3600)
        if len(recent) >= policy.restarts_an_hour:
            why = f"{decision.why}; {len(recent)} restarts in the last hour did not help: it is left to you for now"
            return _page(Decision("page", "budget", why), state)
        restarted = msgspec.structs.replace(
            state,
            restarts=(*recent, look.at),
            since={},
            started_at=look.at,
            ready=False,
            baseline=None,
            flushed_at=None,
        )
        return decision, restarted
    if decision.action == "flush":
        return decision, msgspec.structs.replace(state, flushed_at=look.at)
    if decision.action == "page":
        return _page(decision, state)
    if decision.rule == "healthy" and state.paged:
        state = msgspec.structs.replace(state, paged=())
    return decision, state


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
    for name, holds in _conditions(look, state, policy).items():
        if holds:
            since.setdefault(name, look.at)
        else:
            since.pop(name, None)
    new_process = look.pid is not None and state.pid is not None and look.pid != state.pid
    started_at = look.at if new_process or state.started_at is None else state.started_at
    ready = (state.ready and not new_process) or look.answers == "ok"
    baseline = None if new_process else state.baseline
    if look.answers == "ok" and look.memory is not None:
        baseline = look.memory if baseline is None else min(baseline, look.memory)
    return msgspec.structs.replace(
        state,
        since=since,
        last_look=look.at,
        started_at=started_at,
        ready=ready,
        baseline=baseline,
        pid=look.pid if look.pid is not None else state.pid,
    )


def _conditions(look: Look, state: State, policy: Policy) -> dict[str, bool]:
    low = look.largest_free_block is not None and look.largest_free_block < policy.largest_free_block
    room = (look.free_blocks or 0) >= 2 * policy.largest_free_block
    base = state.baseline
    above = look.memory is not None and look.memory >= policy.memory_share
    grown = base is not None and look.memory is not None and look.memory >= base + policy.memory_above_baseline
    return {
        "ended": look.launcher in ENDED,
        "flapping": look.launcher == _TRIES_AGAIN,
        "dead": look.answers == "dead",
        "refused": look.answers == "refused" and look.launcher not in (*ENDED, _TRIES_AGAIN),
        "silent": look.answers == "silent",
        "stuck": look.answers == "ok" and look.age is not None and look.age >= policy.hang_seconds,
        "memory": above and grown,
        "scattered": low and room,
    }


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
    if not state.ready and state.started_at is not None and look.at - state.started_at < policy.start_seconds:
        yield Decision("none", "starting", f"for {look.at - state.started_at:.0f} s")
    if held("refused") >= twice:
        yield Decision("restart", "refused", f"nobody has answered on its port for {held('refused'):.0f} s")
    if held("silent") >= policy.hang_seconds:
        yield Decision("restart", "silent", f"/health has not answered for {held('silent'):.0f} s")
    if held("stuck") >= twice:
        yield Decision("restart", "stuck", f"/health says 200, but its engine last answered {look.age:.0f} s ago")
    if look.answers != "ok":
        yield Decision("none", "watching", f"{look.answers}: not long enough to act")
    yield from _memory_rows(look, state, policy, quiet, held("memory"), held("scattered"))
    untold = [cause for cause in look.findings if _found(cause) not in state.paged]
    if untold:
        yield Decision("page", _found(untold[0]), f"the doctor finds {untold[0]}; no restart would cure it")
    if look.findings:
        yield Decision("none", _found(look.findings[0]), "a human knows")


def _found(cause: str) -> str:
    return f"finding {cause}"


def _memory_rows(
    look: Look, state: State, policy: Policy, quiet: bool, full: float, scattered: float
) -> Iterator[Decision]:
    flushed = look.at - state.flushed_at if state.flushed_at is not None else float("inf")
    if full >= policy.memory_seconds:
        why = f"memory at {look.memory:.1%} of its limit for {full:.0f} s, {state.baseline:.1%} after its start"
        if flushed > full:
            yield Decision("flush", "memory", why)
        if flushed < policy.flushed_but_full_seconds:
            yield Decision("none", "watching", f"{why}; flushed {flushed:.0f} s ago")
        if quiet:
            yield Decision(
                "page", "memory in quiet hours", f"{why}; a flush did not help, and no restart is allowed now"
            )
        yield Decision("drain and restart", "memory", f"{why}; a flush did not help")
    if scattered >= policy.largest_seconds and flushed >= policy.flush_cool_down:
        largest = f"the largest free run is {look.largest_free_block} of {look.free_blocks} free blocks"
        yield Decision("flush", "scattered", f"{largest}, for {scattered:.0f} s")
