"""Compaction in a live engine core: passes on demand, passes by policy, and the switch that turns it off for good."""

from __future__ import annotations

import functools
import logging
from typing import Any

from unfrag.engine import interface
from unfrag.engine.free import count_runs, fragmentation_ratio, free_blocks, run_lengths
from unfrag.engine.pool import compaction, integrity, move
from unfrag.engine.pool.policy import Policy, effort

logger = logging.getLogger("vllm.unfrag")

PASS_BYTES = 64 << 20  # copied between two steps when it is asked to run to the end
_PASS_MOST = 128


class _NotMoved(Exception):
    """A rank could not move blocks; nothing has changed."""


class Compactor:
    """One per engine core; everything runs in its one thread, between two steps."""

    def __init__(self, engine_core: Any, policy: Policy | None = None) -> None:
        self._engine_core = engine_core
        self._scheduler = engine_core.scheduler
        self._policy = policy or Policy()
        self._moves_a_step = 0
        self._plan = compaction.Plan()
        self._steps_until_look = self._policy.look_every
        self.off: str | None = compaction.refusal(self._scheduler)
        """Why nothing is moved (any more)."""
        if self.off is not None:
            logger.warning("unfrag does not move KV blocks: %s", self.off)
        self.moves = 0

    def one_pass(self) -> dict[str, Any]:
        """As much as may be done between two steps: ``live, cached, evicted, remaining``; ``why`` when it is off."""
        most = max(8, min(_PASS_MOST, PASS_BYTES // max(1, interface.block_bytes(self._engine_core))))
        done = self._compact(most)
        if done.live == 0:
            self._verify()
        return {**done._asdict(), "why": self.off}

    def tick(self) -> None:
        """Before a step, when compaction in the background was asked for. A look reads every block, a pass does not."""
        if self.off is not None:
            return
        self._steps_until_look -= 1
        if self._moves_a_step and self._plan.pairs:
            self._compact(self._moves_a_step)
            return
        if self._steps_until_look > 0:
            return
        self._steps_until_look = self._policy.look_every
        was = self._moves_a_step
        self._moves_a_step = self._wanted_moves()
        if self._moves_a_step:
            self._compact(self._moves_a_step)
        elif was:
            self._verify()

    def _wanted_moves(self) -> int:
        pool = self._scheduler.kv_cache_manager.block_pool
        free = [block.block_id for block in free_blocks(pool)]
        largest = max(run_lengths(free), default=0)
        scattered = (len(free) - largest) * interface.block_bytes(self._engine_core)
        ratio = fragmentation_ratio(len(free), largest)
        return effort(self._policy, ratio, scattered, self._moves_a_step > 0)

    def _compact(self, most: int) -> compaction.Moved:
        if self.off is not None:
            return compaction.Moved()
        try:
            done = compaction.compact(self._scheduler, most, self._send, self._plan)
        except _NotMoved as fault:
            self.turn_off(f"a worker could not move blocks: {fault}")
            return compaction.Moved()
        except compaction.Torn as fault:
            self._end_the_engine(fault)
            raise
        self.moves += done.live
        return done

    def _send(self, copies: list[tuple[int, int]], tables: compaction.Tables, before: compaction.Tables) -> None:
        """To every rank; when one cannot, all of them go back to the tables they had.

        Raises:
            _NotMoved: some rank could not, and all are as they were.
            Torn: nor could all of them go back.
        """
        wrong = self._on_every_rank(copies, tables)
        if not wrong:
            return
        if worse := self._on_every_rank([], before):
            raise compaction.Torn(f"ranks disagree about block tables: {wrong}; and going back: {worse}")
        raise _NotMoved(wrong)

    def _on_every_rank(self, copies: list[tuple[int, int]], tables: compaction.Tables) -> str:
        work = functools.partial(move.move, copies=copies, tables=tables)
        return "; ".join(answer for answer in interface.on_every_rank(self._engine_core, work) if answer is not None)

    def _end_the_engine(self, fault: compaction.Torn) -> None:
        """No step may run any more: one that did would serve wrong tokens. The next one ends the engine instead."""

        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise fault

        logger.critical("unfrag: the engine ends rather than go on: %s", fault)
        self._engine_core.step_fn = refuse

    def _verify(self) -> None:
        if self.off is None and (found := check(self._scheduler)):
            self.turn_off(f"the block pool does not hold together: {'; '.join(found[:3])}")

    def turn_off(self, why: str) -> None:
        """For good: said once, loudly, and the server goes on."""
        self.off, self._moves_a_step = why, 0
        logger.error("unfrag: compaction is off from now on, the server goes on without it: %s", why)


def check(scheduler: Any) -> list[str]:
    """Violations of the pool's book-keeping; see :mod:`unfrag.engine.pool.integrity`."""
    manager = scheduler.kv_cache_manager
    return integrity.check(manager.block_pool, manager.coordinator.single_type_managers)


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
        except compaction.Torn:
            raise
        except Exception as fault:
            compactor.turn_off(f"fault in its own code: {fault!r}")
        return step(engine_core, *args, **kwargs)

    turn_then_step.unfrag_compaction = True  # type: ignore[attr-defined]
    return turn_then_step


def block_map(scheduler: Any) -> dict[str, Any]:
    """Blocks by id as ``[state, how many in a row]`` (null, pinned, cached, empty), and each request's runs."""
    manager = scheduler.kv_cache_manager
    stretches: list[list[Any]] = []
    for block in manager.block_pool.blocks:
        state = "pinned" if block.ref_cnt else "empty" if block.block_hash is None else "cached"
        state = "null" if block.is_null else state
        if stretches and stretches[-1][0] == state:
            stretches[-1][1] += 1
        else:
            stretches.append([state, 1])
    requests = []
    for request in scheduler.running:
        for group in manager.coordinator.single_type_managers:
            ids = [b.block_id for b in group.req_to_blocks.get(request.request_id, ()) if not b.is_null]
            requests.append({"blocks": len(ids), "runs": count_runs(ids)})
    return {"blocks": stretches, "requests": requests}
