"""The guard at work: every few seconds one poll of each server, one decision, and what follows from it."""

from __future__ import annotations

import datetime
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from unfrag.doctor.rules.thresholds import Thresholds, load_thresholds
from unfrag.errors import UnfragError
from unfrag.guard import act
from unfrag.guard.activity import Processes
from unfrag.guard.decide import at_night, decide, unfinished
from unfrag.guard.doctor import Doctor
from unfrag.guard.heartbeat import Heartbeat
from unfrag.guard.memory import Memory, Remembered
from unfrag.guard.poll import poll
from unfrag.guard.state import Decision, Poll

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from threading import Event

    from unfrag.guard.audit import Audit
    from unfrag.guard.fleet import Fleet
    from unfrag.guard.policy import Policy
    from unfrag.guard.targets import Target
    from unfrag.launchers import Launcher

_AT_ONCE = 16
_PATIENCE = 10.0  # seconds for one answer


class WatchedServer:
    """One server under guard.

    Args:
        tell: called with label, decision and what came of it, whenever something was done or a human is needed.
        thresholds: of the doctor's rules; None: the package's own.
    """

    def __init__(
        self,
        target: Target,
        launcher: Launcher | None,
        policy: Policy,
        folder: Path,
        audit: Audit,
        tell: Callable[[str, Decision, str], None],
        dry_run: bool = False,
        clock: Callable[[], float] = time.monotonic,
        thresholds: dict[str, Thresholds] | None = None,
    ) -> None:
        self.target, self._launcher, self._policy = target, launcher, policy
        self._audit, self._tell, self._dry_run, self._clock = audit, tell, dry_run, clock
        self._memory = Memory(folder, target.label, target.identity, reads_only=dry_run)
        self._heartbeat = Heartbeat(clock, policy.hang_seconds / 2)
        self._processes = Processes(clock)
        self._doctor = Doctor(target.url, target.label, policy.doctor_seconds, audit, thresholds or load_thresholds())
        self._elected = False
        self._said = ""
        self.fault = ""
        """Of the guard's own, in which the last turn ended."""
        self.remembered = self._recalled()
        self.last: Poll | None = None
        self.decided: Decision | None = None
        """What followed from the last poll."""
        self.actions: dict[tuple[str, str], int] = {}
        """How often each action came out how: done, failed or dry run."""

    def turn(self, client: httpx.Client, stop: Event) -> None:
        """Poll, decide, act. Never raises: a fault with one server must not end the guard of the others."""
        try:
            if self._is_elected():
                self._turn(client, stop)
                self.fault = ""
        except Exception as fault:
            self.fault = repr(fault)
            self._audit.write(self.target.label, "fault", why=self.fault)

    def _turn(self, client: httpx.Client, stop: Event) -> None:
        self.last = self._poll(client)
        if self.last.answers == "ok":
            self.last = msgspec.structs.replace(self.last, findings=self._doctor.critical(self.last.at))
        self._finish(client, stop)
        here = datetime.datetime.now().astimezone()
        quiet = _between(here.strftime("%H:%M"), self._policy.quiet_from, self._policy.quiet_to)
        decision, self.remembered.state = decide(self.last, self.remembered.state, self._policy, quiet)
        if not self.remembered.nightly:  # a new guard waits for the next night
            first = here.date() - datetime.timedelta(days=here.strftime("%H:%M") < self._policy.nightly)
            self.remembered.nightly = first.isoformat()
        if (
            decision.action == "none"
            and self.last.answers == "ok"
            and nightly_is_due(here, self.remembered.nightly, self._policy.nightly)
        ):
            self.remembered.nightly = here.date().isoformat()
            decision = at_night(self.last, self._policy, f"the night of {self.remembered.nightly}")
        self.decided = decision
        if decision.action != "none":
            self._do(decision, stop)
        elif decision.rule != self.remembered.rule:
            self._audit.write(self.target.label, "seen", rule=decision.rule, why=decision.why, poll=_seen(self.last))
        self.remembered.rule, self.remembered.why = decision.rule, decision.why
        self._memory.save(self.remembered)

    def _poll(self, client: httpx.Client) -> Poll:
        patience = min(_PATIENCE, self._policy.interval)
        return poll(client, self.target, self._launcher, self._clock(), patience, self._heartbeat, self._processes)

    def stands_by(self) -> bool:
        """Does another guard act on it?"""
        try:
            return not self._is_elected()
        except OSError:  # its poll says so
            return False

    def holder(self) -> int | None:
        """The process of the guard that acts on it, where that is known."""
        return self._memory.holder()

    def let_go(self) -> None:
        """It is no longer this guard's."""
        self._memory.let_go()
        self._elected = False

    def _is_elected(self) -> bool:
        if not self._elected and self._memory.elected():
            self._elected = True
            self.remembered = self._recalled()
        return self._elected

    def _recalled(self) -> Remembered:
        found, target = self._memory.load(self._clock()), self.target
        found.label, found.address, found.origin = target.label, target.address, target.origin
        return found

    def _finish(self, client: httpx.Client, stop: Event) -> None:
        """The restart that this guard, or the one before it, began and did not see to its end."""
        if self.remembered.acting is None or self.last is None or self._dry_run:
            return
        what = unfinished(self.last, self.remembered.acting_since, self.remembered.state.pid)
        if what == "restart":
            self._do(Decision("restart", "unfinished", f"not done yet: {self.remembered.acting}"), stop)
            self.last = self._poll(client)
        elif what == "drop":
            self.remembered.acting = None

    def _do(self, decision: Decision, stop: Event) -> None:
        restarts = decision.action in ("restart", "drain and restart")
        if self._dry_run:
            outcome, result = "dry run", "nothing was done"
        else:
            if restarts and self.remembered.acting is None:
                self.remembered.acting, self.remembered.acting_since = (
                    f"{decision.action} ({decision.rule})",
                    self._clock(),
                )
                self._memory.save(self.remembered)
            try:
                result = act.act(decision.action, self.target, self._launcher, self._policy.drain_seconds, stop)
                outcome = "done"
                self.remembered.acting = None if restarts else self.remembered.acting
            except UnfragError as fault:  # a restart that could not be made, for want of its launcher, is still to do
                outcome, result = "failed", str(fault)
                if self._launcher is None:
                    self.remembered.acting = None
        said = f"{decision.action} {decision.rule} {outcome} {result}"
        again, self._said = said == self._said and outcome == "failed", said
        if again:  # it fails as it did at the last poll, which was told
            return
        key = (decision.action, outcome)
        self.actions[key] = self.actions.get(key, 0) + 1
        seen = _seen(self.last) if self.last else {}
        self._audit.write(
            self.target.label,
            decision.action,
            rule=decision.rule,
            why=decision.why,
            outcome=outcome,
            result=result,
            poll=seen,
        )
        if not self._dry_run:
            self._tell(self.target.label, decision, f"{outcome}: {result}" if result else outcome)


def run(fleet: Fleet, interval: float, stop: Event, rounds: int | None = None) -> None:
    """Turn after turn until ``stop``; a round that took longer than ``interval`` is followed by the next at once."""
    notify("READY=1")
    limits = httpx.Limits(max_connections=2 * _AT_ONCE, max_keepalive_connections=0)
    with (
        ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="poll") as pool,
        # A certificate that cannot be verified is no reason to call a server dead; nothing secret goes this way.
        httpx.Client(trust_env=False, limits=limits, verify=False) as client,
    ):
        due = time.monotonic()
        while not stop.is_set():
            fleet.refresh()
            list(pool.map(lambda one: one.turn(client, stop), fleet.watched))
            notify("WATCHDOG=1")
            if rounds is not None:
                rounds -= 1
                if rounds <= 0:
                    return
            due = max(due + interval, time.monotonic())
            stop.wait(due - time.monotonic())


def nightly_is_due(now: datetime.datetime, last_day: str, at: str) -> bool:
    """Once a day after ``HH:MM``; a guard that wakes later in the day makes up for it."""
    if not at:
        return False
    return last_day < now.date().isoformat() and now.strftime("%H:%M") >= at


def _between(now: str, start: str, end: str) -> bool:
    if not start or not end:
        return False
    return start <= now < end if start <= end else now >= start or now < end


def _seen(seen: Poll) -> dict[str, Any]:
    return {key: value for key, value in msgspec.structs.asdict(seen).items() if value is not None and key != "at"}


def notify(state: str) -> None:
    """systemd's notification protocol; nothing where it did not start us."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        try:
            to.connect("\0" + address[1:] if address.startswith("@") else address)
            to.sendall(state.encode())
        except OSError:
            pass
