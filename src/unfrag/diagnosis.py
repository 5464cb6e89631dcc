"""From a target to a diagnosis: collect with the probes, add up the ledger, let the rules judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from unfrag import ledger, rules
from unfrag.facts import Finding, Log, Snapshot, Unknown, unknowns
from unfrag.ledger import Card
from unfrag.probes import http, launch, log, nvidia_smi, nvml
from unfrag.rules import allocator_fragmentation

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 1
_NOT_GIVEN = Unknown("not given")


class Missing(msgspec.Struct, frozen=True):
    fact: str
    why: str


class Diagnosis(msgspec.Struct, frozen=True):
    """What ``diagnose --json`` prints. ``verdict``: the best finding's cause, "healthy", or "unknown"."""

    schema_version: int
    target: str
    verdict: str
    findings: tuple[Finding, ...]
    ledger: tuple[Card, ...] | None
    healthy: tuple[str, ...]
    unknown: tuple[Missing, ...]


def collect_live(url: str, log_file: Path | None, config: Path | None, program: str) -> Snapshot:
    """Ask a running server and this machine. Nothing is changed."""
    with http.client(url) as server:
        version = http.read_version(server)
        mute = version if isinstance(version, Unknown) and version.why.startswith(http.NO_ANSWER) else None
        # What does not answer one question in time is not asked four more.
        model, max_model_len = (mute, mute) if mute is not None else http.read_model(server)
        pool = mute if mute is not None else http.read_pool(server)
        metrics = mute if mute is not None else http.read_metrics(server)
    cards = nvml.read()
    return Snapshot(
        target=url,
        engine="vllm" if not isinstance(metrics, Unknown) else Unknown(metrics.why),
        engine_version=version,
        model=model,
        max_model_len=max_model_len,
        pool=pool,
        metrics=metrics,
        gpus=nvidia_smi.read() if isinstance(cards, Unknown) else cards,
        log=log.read(log_file) if log_file else Unknown("give the server's log with --log"),
        launch=launch.of_supervisor(config, program) if config else launch.of_server(url),
    )


def collect_evidence(folder: Path) -> Snapshot:
    """Read a folder of pasted evidence; each file may be missing.

    ``log.txt, nvidia_smi.txt, metrics.txt, health.json, launch.txt, context.json``
    """
    context, no_context = _context(folder / "context.json")
    pasted = {name: _text(folder / name) for name in ("nvidia_smi.txt", "metrics.txt", "health.json", "launch.txt")}
    smi, metrics, health, line = pasted.values()
    return Snapshot(
        target=str(folder),
        engine=context.get("engine") or no_context,
        engine_version=context.get("engine_version") or no_context,
        model=context.get("model") or no_context,
        max_model_len=_NOT_GIVEN,
        pool=health if isinstance(health, Unknown) else http.parse_health(health.encode()),
        metrics=metrics if isinstance(metrics, Unknown) else http.parse_metrics(metrics),
        gpus=smi if isinstance(smi, Unknown) else nvidia_smi.parse(smi),
        log=log.read(folder / "log.txt") if (folder / "log.txt").exists() else Unknown("no log.txt"),
        launch=line if isinstance(line, Unknown) else launch.of_text(line, "launch.txt"),
    )


def _text(path: Path) -> str | Unknown:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return Unknown(f"no {path.name}")
    except OSError as fault:
        return Unknown(f"{path}: {fault.strerror}")


def _context(path: Path) -> tuple[dict[str, str], Unknown]:
    """The texts in context.json, and why one that is not there is unknown."""
    try:
        raw = msgspec.json.decode(path.read_bytes(), type=dict[str, object])
    except FileNotFoundError:
        return {}, _NOT_GIVEN
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as fault:
        return {}, Unknown(f"{path.name} cannot be read: {fault}")
    return {key: value for key, value in raw.items() if isinstance(value, str)}, _NOT_GIVEN


def diagnose(snapshot: Snapshot, thresholds: dict[str, rules.Thresholds]) -> Diagnosis:
    """Judge a snapshot. Pure: the same snapshot gives the same diagnosis."""
    findings, healthy = rules.judge_all(snapshot, thresholds)
    cards = ledger.build(snapshot)
    missing = [Missing(fact, why) for fact, why in unknowns(snapshot)]
    if isinstance(cards, Unknown):
        missing.append(Missing("ledger", cards.why))
    failure = _unexplained_failure(snapshot, findings)
    if failure is not None:
        missing.append(Missing("failed_allocation", f"no rule explains it: {failure[:200]}"))
        healthy = [line for line in healthy if line != allocator_fragmentation.HEALTHY]
    looked = failure is None and (findings or healthy)
    return Diagnosis(
        schema_version=SCHEMA_VERSION,
        target=snapshot.target,
        verdict=findings[0].cause if findings else "healthy" if looked else "unknown",
        findings=tuple(findings),
        ledger=None if isinstance(cards, Unknown) else cards,
        healthy=tuple(healthy),
        unknown=tuple(missing),
    )


def _unexplained_failure(snapshot: Snapshot, findings: list[Finding]) -> str | None:
    """The last failed allocation in the log when no finding is about one: an OOM is never healthy."""
    if not isinstance(snapshot.log, Log) or not snapshot.log.failures:
        return None
    explained = any(finding.cause == allocator_fragmentation.CAUSE for finding in findings)
    return None if explained else snapshot.log.failures[-1].line


def has_evidence(snapshot: Snapshot) -> bool:
    """Is there anything to judge at all?"""
    facts = (snapshot.pool, snapshot.metrics, snapshot.gpus)
    return any(not isinstance(f, Unknown) for f in facts) or (isinstance(snapshot.log, Log) and snapshot.log.lines > 0)
