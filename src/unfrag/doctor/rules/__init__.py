"""One cause, one file: a pure function from a Snapshot to a Finding, or None when it has nothing to say.

A rule's module has ``ID``, ``CAUSE``, ``HEALTHY`` (the sentence when it looked and found nothing) and ``judge``. A rule
that needs more than text also has ``can_judge`` (are the facts there to look at all), and ``looked`` where those are
not enough to call a server healthy. Adding a rule is one file and one line in ``RULES``.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any, Protocol

from unfrag.doctor.rules import (
    alloc_conf_conflict,
    allocator_fragmentation,
    cudagraph_memory,
    engine_stalled,
    expert_imbalance,
    foreign_process,
    gpu_imbalance,
    host_oom,
    hybrid_waste,
    isolation_breach,
    kv_pool_too_small,
    kv_transfer_leak,
    memory_leak_gpu,
    memory_leak_host,
    mla_kv_replicated,
    moe_workspace,
    nccl_hang,
    not_memory,
    pool_fragmentation,
    preemption_thrash,
    prefix_cache_eviction,
    profiling_underestimate,
    quantization_mismatch,
    sampler_warmup_oom,
    shm_too_small,
    unsupported_flag,
    unsupported_hardware_kernel,
    utilization_too_high,
    weights_do_not_fit,
    wrong_entrypoint_or_version,
)
from unfrag.doctor.weigh import dialect, evidence
from unfrag.errors import UsageError
from unfrag.system import resources
from unfrag.system.decode import toml_file

if TYPE_CHECKING:
    from pathlib import Path

    from unfrag.facts.finding import Finding
    from unfrag.facts.snapshot import Snapshot

Thresholds = dict[str, Any]


class Rule(Protocol):
    ID: str
    CAUSE: str
    HEALTHY: str

    def judge(self, snapshot: Snapshot, thresholds: Thresholds) -> Finding | None: ...


RULES: tuple[Rule, ...] = (
    gpu_imbalance,
    pool_fragmentation,
    allocator_fragmentation,
    kv_pool_too_small,
    preemption_thrash,
    engine_stalled,
    weights_do_not_fit,
    foreign_process,
    utilization_too_high,
    sampler_warmup_oom,
    cudagraph_memory,
    profiling_underestimate,
    moe_workspace,
    prefix_cache_eviction,
    memory_leak_gpu,
    memory_leak_host,
    kv_transfer_leak,
    shm_too_small,
    host_oom,
    unsupported_flag,
    wrong_entrypoint_or_version,
    expert_imbalance,
    unsupported_hardware_kernel,
    quantization_mismatch,
    mla_kv_replicated,
    hybrid_waste,
    alloc_conf_conflict,
    nccl_hang,
    isolation_breach,
    not_memory,
)
_SURE = 0.7
_LARGEST_THRESHOLD = 2**60
SEVERITIES = ("info", "warning", "critical")


def load_thresholds(path: Path | None = None) -> dict[str, Thresholds]:
    """The defaults, with single values replaced from ``path``. Raises UsageError for an unknown table or key."""
    defaults = tomllib.loads(resources.text(__name__, "thresholds.toml"))
    if path is None:
        return defaults
    for table, values in toml_file(path).items():
        if not isinstance(values, dict) or table not in defaults:
            raise UsageError(f"{path}: [{table}] is not a rule; there are {', '.join(defaults)}")
        unknown = set(values) - set(defaults[table])
        if unknown:
            raise UsageError(f"{path}: [{table}] has no {', '.join(unknown)}; it has {', '.join(defaults[table])}")
        _must_be_alike(values, defaults[table], f"{path}: [{table}]")
        defaults[table] |= values
    return defaults


def _must_be_alike(values: Thresholds, defaults: Thresholds, where: str) -> None:
    """Raises UsageError: a threshold is of another kind than its default, or no finite number."""
    for key, value in values.items():
        kind = type(defaults[key])
        numbers = kind in (int, float) and type(value) in (int, float) and abs(value) <= _LARGEST_THRESHOLD
        if not numbers and (type(value) is not kind or kind in (int, float)):
            raise UsageError(f"{where} {key}: a value such as {defaults[key]!r} is wanted")


def judge_all(snapshot: Snapshot, thresholds: dict[str, Thresholds]) -> tuple[list[Finding], list[str]]:
    """(findings, best first; sentences of the rules that looked and found nothing)."""
    findings, healthy = [], []
    for rule in RULES:
        if _can_judge(rule, snapshot):
            finding = rule.judge(snapshot, thresholds[rule.CAUSE])
            if finding is not None:
                findings.append(dialect.translate(finding, snapshot))
            elif _looked(rule, snapshot):
                healthy.append(rule.HEALTHY)
    findings.sort(key=_rank, reverse=True)
    return _without_echoes(findings), healthy


def _can_judge(rule: Rule, snapshot: Snapshot) -> bool:
    """Has the rule anything to look at? One that does not say itself what it looks at reads text."""
    own = getattr(rule, "can_judge", evidence.has_text)
    return bool(own(snapshot))


def _looked(rule: Rule, snapshot: Snapshot) -> bool:
    """Was there enough to call it healthy? For a rule that reads text, the log of a server that came to serve."""
    own = getattr(rule, "looked", None)
    if own is None:
        return hasattr(rule, "can_judge") or evidence.serves(snapshot)
    return bool(own(snapshot))


def _without_echoes(findings: list[Finding]) -> list[Finding]:
    """Drop what only follows from the best finding, and whose advice would not help.

    Without memory to do with it is mostly the echo of a fault that has; and while others hold the card, no share or
    peak of our own is right.
    """
    if not findings or findings[0].confidence < _SURE:
        return findings
    echoes = {not_memory.CAUSE} - {findings[0].cause}
    if findings[0].cause == foreign_process.CAUSE:
        echoes |= {utilization_too_high.CAUSE, profiling_underestimate.CAUSE}
    return [finding for finding in findings if finding.cause not in echoes]


def _rank(finding: Finding) -> float:
    """By confidence; of two that are alike the graver one first, and what is only worth knowing last."""
    return finding.confidence + {"critical": 0.04, "warning": 0.0, "info": -0.5}[finding.severity]
