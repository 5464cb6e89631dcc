"""One question to every worker of an engine, whose answers cannot get out of step.

vLLM's multiprocess executor keeps a queue of answers for each rank and takes one from each. A rank that raises, or
answers too late, leaves the other ranks' answers behind, and the next question is answered with those
(``v1/executor/multiproc_executor.py``, ``get_response``). So nothing of ours raises in a worker, each answer carries
the number of its question, and no question is asked while answers of earlier ones are left.
"""

from __future__ import annotations

import functools
import itertools
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from unfrag.engine.vllm import core

if TYPE_CHECKING:
    from collections.abc import Callable

_MARK = "unfrag"
_MOST_LEFT = 64  # answers that may be left over on one rank before they are given up on


class Foreign(RuntimeError):
    """An answer to another question, or none that can be understood: who did what is not known."""


class StepFailed(RuntimeError):
    """The step in flight failed, so the engine is about to end; nothing was asked."""


class Answer(NamedTuple):
    """One rank's: ``value``, or ``fault`` in words."""

    value: Any
    fault: str | None


class Remote:
    """Every question to the workers of one engine core goes through its one of these, from the engine's thread."""

    def __init__(self, engine_core: Any) -> None:
        self._engine_core = engine_core
        self._executor = engine_core.model_executor
        self._numbers = itertools.count(1)
        self._name = f"{os.getpid()}"
        self._broken: str | None = None

    def ask(self, function: Callable[[Any], Any]) -> list[Answer]:
        """``function(worker)`` on each rank, in the order of ranks, when the step in flight is done.

        Raises:
            StepFailed: nothing was asked.
            Foreign: the answers are not those to this question: whether it was done is not known. What was left in the
                queues is taken away, so that the next question is answered right again.
            TimeoutError: not within vLLM's own limit for a step; the engine ends, in vLLM's own way.
        """
        if self._broken is not None:
            raise Foreign(self._broken)
        self._finish_steps()
        nonce = self._nonce()
        work = functools.partial(answer, nonce=nonce, function=function)
        try:
            answers = self._executor.collective_rpc(work, timeout=limit_seconds())
            return [_read(one, nonce) for one in answers]
        except TimeoutError as late:
            core.end_engine(self._engine_core, late)
            raise
        except Exception as fault:
            self._take_away_what_is_left(fault)
            raise Foreign(f"{fault}") from fault

    def agree(self, function: Callable[[Any], Any] | None = None) -> list[Answer]:
        """:meth:`ask` what changes nothing; it is asked twice where a failed call of vLLM had left answers behind.

        Raises:
            Foreign: answers are not in step, and could not be brought into step.
            StepFailed, TimeoutError: as for :meth:`ask`.
        """
        try:
            return self.ask(function or _nothing)
        except Foreign:
            return self.ask(function or _nothing)

    def _nonce(self) -> str:
        return f"{self._name}.{next(self._numbers)}"

    def _finish_steps(self) -> None:
        """Wait for steps in flight, each for as long as vLLM would, so that our own limit begins after them."""
        pending = getattr(self._executor, "futures_queue", None)
        if not pending:
            return
        waited_for = list(pending)
        while pending:
            pending.pop()._wait_for_response()
        for future in waited_for:
            if (fault := future.exception()) is not None:
                raise StepFailed(str(fault)) from fault

    def _take_away_what_is_left(self, fault: Exception) -> None:
        """Read each rank's queue up to the answer to a question of now.

        Where that cannot be done, nothing is asked any more. Only vLLM's multiprocess executor has such queues.
        """
        queues = getattr(self._executor, "response_mqs", None)
        send = getattr(self._executor, "rpc_broadcast_mq", None)
        if not queues or send is None or getattr(self._executor, "is_failed", False):
            self._broken = f"workers are not asked any more: {fault}"
            return
        import cloudpickle

        nonce = self._nonce()
        send.enqueue((cloudpickle.dumps(functools.partial(answer, nonce=nonce, function=_nothing)), (), {}, None))
        for rank, queue in enumerate(queues):
            try:
                found = any(_is_answer(queue.dequeue(timeout=limit_seconds())[1], nonce) for _ in range(_MOST_LEFT))
            except TimeoutError as late:
                core.end_engine(self._engine_core, late)
                raise
            if not found:
                self._broken = f"workers are not asked any more: rank {rank} has more than {_MOST_LEFT} answers left"


def answer(worker: Any, nonce: str, function: Callable[[Any], Any]) -> tuple[str, str, str | None, Any]:
    """In the worker: never raises, for that would leave the other ranks' answers behind."""
    try:
        return _MARK, nonce, None, function(worker)
    except Exception as fault:
        return _MARK, nonce, f"{type(fault).__name__}: {fault}", None


def limit_seconds() -> float:
    """vLLM's own for one step: ``VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS``."""
    from vllm import envs

    return float(getattr(envs, "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS", 300))


def remote_of(engine_core: Any) -> Remote:
    """The engine core's one, made when it is first asked for."""
    if not hasattr(engine_core, "_unfrag_remote"):
        engine_core._unfrag_remote = Remote(engine_core)
    remote: Remote = engine_core._unfrag_remote
    return remote


def _nothing(worker: Any) -> None:
    return None


def _is_answer(found: Any, nonce: str) -> bool:
    return isinstance(found, (tuple, list)) and len(found) == 4 and found[0] == _MARK and found[1] == nonce


def _read(found: Any, nonce: str) -> Answer:
    if not _is_answer(found, nonce):
        raise Foreign("a rank answered something else: answers of an earlier call were left in vLLM's queues")
    return Answer(found[3], found[2])
