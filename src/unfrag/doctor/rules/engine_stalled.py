"""The engine does not answer, or never finished loading. Memory may have nothing to do with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.rules import oom
from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding
from unfrag.facts.memory_stats import Pool
from unfrag.facts.values import NO_ANSWER, NO_SERVER, Unknown

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF006"
CAUSE = "engine_stalled"
HEALTHY = "The engine is not known to stand still."


def can_judge(snapshot: Snapshot) -> bool:
    known_age = isinstance(snapshot.pool, Pool) and snapshot.pool.age_seconds is not None
    return known_age or evidence.has_text(snapshot) or _dead(snapshot) or _silent(snapshot)


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    pool = snapshot.pool
    if isinstance(pool, Pool) and (pool.age_seconds or 0) >= thresholds["age_seconds"]:
        summary = f"The engine has not finished a step for {pool.age_seconds:.0f} s, while /health still answers 200."
        return _finding(summary, f"age_seconds {pool.age_seconds:.1f}, steps {pool.steps}", 0.92)
    if _silent(snapshot) and oom.of(snapshot) is None:
        return _finding("The server's port accepts connections and nothing answers on it.", NO_ANSWER, 0.75)
    if _dead(snapshot) and oom.of(snapshot) is None:
        return _finding(
            "The engine is dead while its API server still listens.",
            str(pool.why) if isinstance(pool, Unknown) else "",
            0.95,  # the server's own word
        )
    if oom.of(snapshot) is not None:
        return None
    idle = _no_progress(snapshot, thresholds)
    if idle:
        return _finding("Requests run and no token is generated.", idle, 0.88)
    for kind, confidence, summary in (
        ("watchdog", 0.85, "The engine's own watchdog saw a step that does not end."),
        ("no_tokens", 0.75, "Requests are open and no token is generated."),
        ("health_failed", 0.8, "The engine's own health check got no answer."),
        ("shm_broadcast", 0.8, "A worker does not take its work: the ring of messages to it stays full."),
        ("rpc_timeout", 0.82, "A worker did not answer a call in time."),
        ("heartbeat_lost", 0.75, "The engine process does not answer its front end."),
    ):
        event = evidence.said(snapshot, kind)
        if event is not None and (event.ready or kind != "shm_broadcast" or not evidence.fact(snapshot, "ready")):
            return _finding(summary, event.text, confidence)
    timeout = evidence.said(snapshot, "load_timeout")
    if timeout is not None:
        summary = (
            "The server timed out while loading, without a failed allocation. Guides blame fragmentation for such a "
            "silence; slow storage, a hung rank or a dead worker are more common."
        )
        return _finding(summary, timeout.text, 0.6)
    died = evidence.said(snapshot, "worker_died")
    if died is not None and evidence.said(snapshot, "sigkill", "oom_killer", "oom_killed") is None:
        return _finding("A worker process died; the engine cannot go on without it.", died.text, _died(snapshot))
    return None


def _died(snapshot: Snapshot) -> float:
    """Sure where nobody listens on the server's port any more; a log alone may tell of a start long ago."""
    facts = (snapshot.pool, snapshot.metrics)
    gone = all(isinstance(fact, Unknown) and fact.why.startswith(NO_SERVER) for fact in facts)
    return 0.9 if gone else 0.58


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


def _finding(summary: str, evidence_line: str, confidence: float) -> Finding:
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="critical",
        confidence=confidence,
        summary=summary,
        evidence=(evidence_line,),
        fixes=(
            "py-spy dump --pid PID_OF_ENGINE_CORE   # where it hangs; then restart the server",
            "nvidia-smi; dmesg -T | tail   # a card that fell off, a process that was stopped or killed",
        ),
        meaning="Requests wait without an error; a load balancer that asks /health for a status keeps sending more.",
        harmless="During one long step (a first compilation, a very long prefill): the age falls again.",
    )


def looked(snapshot: Snapshot) -> bool:
    """An age from ``/health``, or load lines, show that it moves."""
    return (isinstance(snapshot.pool, Pool) and snapshot.pool.age_seconds is not None) or bool(evidence.loads(snapshot))
