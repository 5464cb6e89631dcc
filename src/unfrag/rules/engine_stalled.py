"""The engine does not answer, or never finished loading. Memory may have nothing to do with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.facts import Finding, Log, Pool

if TYPE_CHECKING:
    from unfrag.facts import Snapshot

ID = "UF006"
CAUSE = "engine_stalled"
HEALTHY = "The engine answers between its steps."


def can_judge(snapshot: Snapshot) -> bool:
    known_age = isinstance(snapshot.pool, Pool) and snapshot.pool.age_seconds is not None
    return known_age or (isinstance(snapshot.log, Log) and snapshot.log.load_timed_out)


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    pool, log = snapshot.pool, snapshot.log
    if isinstance(pool, Pool) and (pool.age_seconds or 0) >= thresholds["age_seconds"]:
        summary = f"The engine has not finished a step for {pool.age_seconds:.0f} s, while /health still answers 200."
        evidence = f"age_seconds {pool.age_seconds:.1f}, steps {pool.steps}"
        return _finding(summary, evidence, 0.9)
    if isinstance(log, Log) and log.load_timed_out and not log.failures:
        summary = (
            "The server timed out while loading, without a failed allocation. Guides blame fragmentation for such a "
            "silence; slow storage, a hung rank or a dead worker are more common."
        )
        return _finding(summary, log.last_line, 0.6)
    return None


def _finding(summary: str, evidence: str, confidence: float) -> Finding:
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="critical",
        confidence=confidence,
        summary=summary,
        evidence=(evidence,),
        fixes=("py-spy dump --pid PID_OF_ENGINE_CORE   # where it hangs; then restart the server",),
    )
