"""The engine does not answer, or never finished loading. Memory may have nothing to do with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence, oom
from unfrag.doctor.weigh.judged import judged
from unfrag.facts.memory_stats import Pool
from unfrag.facts.values import NO_ANSWER, NO_SERVER, Unknown

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.finding import Certainty
    from unfrag.facts.snapshot import Snapshot

CAUSE = "engine_stalled"
_KINDS = ("watchdog", "no_tokens", "health_failed", "shm_broadcast", "rpc_timeout", "heartbeat_lost")


def can_judge(snapshot: Snapshot) -> bool:
    known_age = isinstance(snapshot.pool, Pool) and snapshot.pool.age_seconds is not None
    return known_age or evidence.has_text(snapshot) or _dead(snapshot) or _silent(snapshot)


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    pool = snapshot.pool
    if isinstance(pool, Pool) and (pool.age_seconds or 0) >= thresholds["age_seconds"]:
        line = f"age_seconds {pool.age_seconds:.1f}, steps {pool.steps}"
        return judged("age", line, "proven", seconds=pool.age_seconds)
    if _silent(snapshot) and oom.of(snapshot) is None:
        return judged("silent", NO_ANSWER, "strong")
    if _dead(snapshot) and oom.of(snapshot) is None:
        return judged("dead", str(pool.why) if isinstance(pool, Unknown) else "", "proven")  # the server's own word
    if oom.of(snapshot) is not None:
        return None
    idle = _no_progress(snapshot, thresholds)
    if idle:
        return judged("idle", idle, "proven")
    for kind in _KINDS:
        event = evidence.said(snapshot, kind)
        if event is not None and (event.ready or kind != "shm_broadcast" or not evidence.fact(snapshot, "ready")):
            return judged(kind, event.text, "strong")
    timeout = evidence.said(snapshot, "load_timeout")
    if timeout is not None:
        return judged("load_timeout", timeout.text, "likely")
    died = evidence.said(snapshot, "worker_died")
    if died is not None and evidence.said(snapshot, "sigkill", "oom_killer", "oom_killed") is None:
        return judged("worker_died", died.text, _died(snapshot))
    return None


def _died(snapshot: Snapshot) -> Certainty:
    """Sure where nobody listens on the server's port any more; a log alone may tell of a start long ago."""
    facts = (snapshot.pool, snapshot.metrics)
    gone = all(isinstance(fact, Unknown) and fact.why.startswith(NO_SERVER) for fact in facts)
    return "proven" if gone else "likely"


def _silent(snapshot: Snapshot) -> bool:
    """Every question to a live server ran out of time."""
    facts = (snapshot.pool, snapshot.metrics)
    return all(isinstance(fact, Unknown) and fact.why.startswith(NO_ANSWER) for fact in facts)


def _dead(snapshot: Snapshot) -> bool:
    return isinstance(snapshot.pool, Unknown) and "the engine is dead" in snapshot.pool.why


def _no_progress(snapshot: Snapshot, thresholds: dict[str, Any]) -> str:
    """The latest load lines all have requests running and nothing generated or prefilled."""
    loads = evidence.loads(snapshot)[-thresholds["samples"] :]
    still = [x for x in loads if (x.running or 0) > 0 and x.generation_rate == 0 and not x.prompt_rate]
    if len(still) < thresholds["samples"] or len(still) < len(loads):
        return ""
    return f"the last {len(still)} load lines: running {still[-1].running:.0f}, 0.0 tokens/s"


def looked(snapshot: Snapshot) -> bool:
    """An age from ``/health``, or load lines, show that it moves."""
    return (isinstance(snapshot.pool, Pool) and snapshot.pool.age_seconds is not None) or bool(evidence.loads(snapshot))
