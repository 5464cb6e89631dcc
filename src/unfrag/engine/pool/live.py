"""Compaction in a live engine core: passes on demand, passes by policy, and the switch that turns it off for good."""

from __future__ import annotations

import functools
import logging
import time
from typing import TYPE_CHECKING, Any

from unfrag.engine.pool import compaction, integrity, plan
from unfrag.engine.pool.effort import Policy, effort
from unfrag.engine.pool.reading import read_pool
from unfrag.engine.publish import publisher_of
from unfrag.engine.vllm import core, features, tables
from unfrag.engine.vllm.remote import remote_of

if TYPE_CHECKING:
    from concurrent.futures import Future

    from unfrag.engine.vllm.remote import Answer

logger = logging.getLogger("vllm.unfrag")

PASS_BYTES = 64 << 20  # copied between two steps when it is asked to run to the end
_PASS_MOST = 128
_SLICE_SECONDS = 0.005  # on the engine's thread, for what takes longer as a whole
_TICK_SECONDS = 0.001
_READ_BLOCKS = 32768


class _NotMoved(Exception):
    """A rank could not move blocks; nothing has changed."""


class Compactor:
    """One per engine core; everything runs in its one thread, between two steps."""

    def __init__(self, engine_core: Any, policy: Policy | None = None) -> None:
        self._engine_core = engine_core
        self._scheduler = engine_core.scheduler
        self._remote = remote_of(engine_core)
        self._policy = policy or Policy()
        self._plan = plan.Plan(self._scheduler)
        self._planned = False
        self._checking: int | None = None
        self._whole: dict[str, Any] | None = None
        self._steps, self._effort = 0, 0
        self._look: Future[tuple[int, dict[str, Any]]] | None = None
        self.off: str | None = features.why_off("compaction") or compaction.refusal(self._scheduler)
        """Why nothing is moved (any more)."""
        if self.off is not None:
            logger.warning("unfrag does not move KV blocks: %s", self.off)
        self.moves = 0

    def one_pass(self) -> dict[str, Any]:
        """As much as may be done between two steps: ``live, cached, evicted, remaining``; ``why`` when it is off.

        ``finished``: a fresh plan holds no move, and the pool's bookkeeping was seen to hold together. ``after``: the
        pool when no move was left, None where reading it takes long.
        """
        done, finished = compaction.Moved(), True
        if self.off is None:
            done, finished = self._go_on(self._most(PASS_BYTES, _PASS_MOST), _SLICE_SECONDS)
        whole = self._whole if finished and self.off is None else None
        return {**done._asdict(), "finished": finished, "why": self.off, "after": whole}

    def _read(self) -> dict[str, Any] | None:
        """The pool at this moment; None where that would take long."""
        small = len(core.block_pool(self._engine_core).blocks) <= _READ_BLOCKS
        return read_pool(self._engine_core) if small else None

    def tick(self) -> None:
        """Before a step, when compaction in the background was asked for: works, or rests and looks now and then."""
        if self.off is not None:
            return
        self._steps += 1
        if self._effort:
            if self._steps % self._policy.move_every == 0:
                _, finished = self._go_on(self._most(self._policy.pass_bytes, self._effort), _TICK_SECONDS)
                if finished:
                    self._effort = 0
        elif self._look is not None:
            if self._look.done():
                self._effort, self._look = self._wanted_effort(self._look), None
        elif self._steps % self._policy.look_every == 0:
            self._look = publisher_of(self._engine_core).next(0, now=True)

    def check(self, start: int) -> tuple[list[str], int | None]:
        """A slice of :func:`integrity.check_slice`; what does not hold together turns compaction off."""
        found, after = integrity.check_slice(core.block_pool(self._engine_core), core.managers(self._scheduler), start)
        if found and self.off is None:
            self.turn_off(f"the block pool does not hold together: {'; '.join(found[:3])}")
        return found, after

    def turn_off(self, why: str) -> None:
        """For good: said once, loudly, and the server goes on."""
        self.off, self._effort = why, 0
        logger.error("unfrag: compaction is off from now on, the server goes on without it: %s", why)

    def _most(self, limit_bytes: int, moves: int) -> int:
        return max(1, min(moves, limit_bytes // max(1, core.block_bytes(self._engine_core))))

    def _wanted_effort(self, look: Future[tuple[int, dict[str, Any]]]) -> int:
        if look.exception() is not None:
            return 0
        _, reading = look.result()
        scattered = (reading["free_blocks"] - reading["largest_free_block"]) * reading["block_size_bytes"]
        return effort(self._policy, reading["fragmentation_ratio"], scattered, active=False)

    def _go_on(self, most: int, seconds: float) -> tuple[compaction.Moved, bool]:
        """Plan, move what is planned, plan again; when a new plan is empty, check. What was done, and is that all?"""
        if self._checking is None:
            self._planned = self._planned or self._plan.work_out(seconds)
            if not self._planned:
                return compaction.Moved(), False
            if self._plan.remaining:
                done = self._compact(most)
                self._planned = self._plan.remaining > 0
                return done, self.off is not None
            self._planned, self._whole, self._checking = False, self._read(), 0
        end = time.monotonic() + seconds
        while self._checking is not None and time.monotonic() < end:
            _, self._checking = self.check(self._checking)
        return compaction.Moved(), self._checking is None

    def _compact(self, most: int) -> compaction.Moved:
        try:
            self._see_that_every_rank_can()
            done = compaction.compact(self._scheduler, most, self._send, self._plan)
        except compaction.Torn as fault:
            self._end_the_engine(fault)
            raise
        except _NotMoved as fault:
            self.turn_off(f"a worker could not move blocks: {fault}")
            return compaction.Moved()
        except RuntimeError as fault:  # before anything moved
            self.turn_off(f"the workers cannot be asked: {fault}")
            return compaction.Moved()
        self.moves += done.live
        return done

    def _see_that_every_rank_can(self) -> None:
        """Before the first move of a pass, while nothing has changed.

        Raises:
            _NotMoved: a rank cannot.
        """
        groups = len(core.managers(self._scheduler))
        if wrong := _faults(self._remote.agree(functools.partial(tables.refusal, groups=groups))):
            raise _NotMoved(wrong)

    def _send(self, copies: list[tuple[int, int]], after: compaction.Tables, before: compaction.Tables) -> None:
        """To every rank; when one cannot, all of them go back to the tables they had.

        Raises:
            _NotMoved: some rank could not, and all are as they were.
            Torn: nor could all of them go back, or what they did is not known.
        """
        wrong = self._on_every_rank(copies, after)
        if not wrong:
            return
        if worse := self._on_every_rank([], before):
            raise compaction.Torn(f"ranks disagree about block tables: {wrong}; and going back: {worse}")
        raise _NotMoved(wrong)

    def _on_every_rank(self, copies: list[tuple[int, int]], to: compaction.Tables) -> str:
        """What went wrong, in words. Raises Torn: it is not known what the ranks did."""
        try:
            answers = self._remote.ask(functools.partial(tables.move, copies=copies, tables=to))
        except BaseException as fault:
            raise compaction.Torn(f"it is not known which ranks moved blocks: {fault!r}") from fault
        return _faults(answers)

    def _end_the_engine(self, fault: compaction.Torn) -> None:
        """No step may run any more: one that did would serve wrong tokens."""
        logger.critical("unfrag: the engine ends rather than go on: %s", fault)
        core.end_engine(self._engine_core, fault)


def _faults(answers: list[Answer]) -> str:
    return "; ".join(each.fault or each.value for each in answers if each.fault or each.value)


def compactor_of(engine_core: Any) -> Compactor:
    """The engine core's one, made when it is first asked for."""
    if not hasattr(engine_core, "_unfrag_compactor"):
        engine_core._unfrag_compactor = Compactor(engine_core)
    compactor: Compactor = engine_core._unfrag_compactor
    return compactor


def before_each_step(engine_core_class: Any) -> None:
    """Give the compactor its turn before every step of the engines of this process.

    A fault of its own turns it off and stops no step, unless it left scheduler and workers apart.
    """
    for name in ("step", "step_with_batch_queue"):
        step = getattr(engine_core_class, name)
        if getattr(step, "unfrag_compaction", False):  # vLLM calls general plugins more than once
            return
        setattr(engine_core_class, name, _after_a_turn(step))


def _after_a_turn(step: Any) -> Any:
    @functools.wraps(step)
    def turn_then_step(engine_core: Any, *args: Any, **kwargs: Any) -> Any:
        compactor = compactor_of(engine_core)
        try:
            compactor.tick()
        except (compaction.Torn, TimeoutError):
            raise
        except Exception as fault:
            compactor.turn_off(f"fault in its own code: {fault!r}")
        return step(engine_core, *args, **kwargs)

    turn_then_step.unfrag_compaction = True  # type: ignore[attr-defined]
    return turn_then_step
