"""One cause: ``CAUSE.py`` with its logic, ``CAUSE.md`` with its words, and one line in ``RULES``.

A rule's module has ``CAUSE`` and ``judge``, a pure function from a Snapshot to what was seen, or None when it has
nothing to say. One that needs more than text also has ``can_judge`` (are the facts there to look at all), and ``looked``
where those are not enough to call a server healthy.
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
from unfrag.doctor.words import pages
from unfrag.doctor.words.say import say
from unfrag.errors import UsageError
from unfrag.facts.finding import CERTAINTIES
from unfrag.system import resources
from unfrag.system.decode import toml_file

if TYPE_CHECKING:
    from pathlib import Path

    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.finding import Certainty, Finding
    from unfrag.facts.snapshot import Snapshot

Thresholds = dict[str, Any]


class Rule(Protocol):
    CAUSE: str

    def judge(self, snapshot: Snapshot, thresholds: Thresholds) -> Judged | None: ...


# From the particular to the general: of two findings that are equally sure and grave, the one named first is the better.
RULES: tuple[Rule, ...] = (
    alloc_conf_conflict,
    sampler_warmup_oom,
    isolation_breach,
    memory_leak_host,
    hybrid_waste,
    preemption_thrash,
    mla_kv_replicated,
    moe_workspace,
    cudagraph_memory,
    nccl_hang,
    wrong_entrypoint_or_version,
    quantization_mismatch,
    allocator_fragmentation,
    foreign_process,
    gpu_imbalance,
    expert_imbalance,
    host_oom,
    shm_too_small,
    kv_transfer_leak,
    memory_leak_gpu,
    pool_fragmentation,
    prefix_cache_eviction,
    unsupported_hardware_kernel,
    unsupported_flag,
    profiling_underestimate,
    utilization_too_high,
    kv_pool_too_small,
    weights_do_not_fit,
    engine_stalled,
    not_memory,
)
_SURE: tuple[Certainty, ...] = ("proven", "strong", "likely")
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


def judge_all(
    snapshot: Snapshot, thresholds: dict[str, Thresholds], language: str = "en"
) -> tuple[list[Finding], list[str]]:
    """(findings, best first; sentences of the rules that looked and found nothing)."""
    found, healthy = [], []
    for rule in RULES:
        if _can_judge(rule, snapshot):
            judged = rule.judge(snapshot, thresholds[rule.CAUSE])
            if judged is not None:
                found.append((rule.CAUSE, judged))
            elif _looked(rule, snapshot):
                healthy.append(pages.head(rule.CAUSE, language))
    spelling = dialect.of(snapshot)
    explained = {(cause, by) for by, judged in found for cause in judged.explains}
    findings = [say(cause, judged, spelling, language) for cause, judged in found]
    findings.sort(key=_rank)
    for cause, by in explained:
        _after(findings, cause, by)
    return _without_echoes(findings, explained), [head.healthy for head in sorted(healthy, key=lambda head: head.id)]


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


def _without_echoes(findings: list[Finding], explained: set[tuple[str, str]]) -> list[Finding]:
    """Drop what only follows from the best finding, and whose advice would not help.

    Without memory to do with it is mostly the echo of a fault that has; and while others hold the card, no share or
    peak of our own is right.
    """
    if not findings or findings[0].certainty not in _SURE:
        return findings
    echoes = {not_memory.CAUSE} - {findings[0].cause}
    best = findings[0].cause
    if best == foreign_process.CAUSE or (foreign_process.CAUSE, best) in explained:
        echoes |= {utilization_too_high.CAUSE, profiling_underestimate.CAUSE}
    return [finding for finding in findings if finding.cause not in echoes]


def _rank(finding: Finding) -> tuple[bool, int, int]:
    """What is only worth knowing last, then by certainty; of two that are alike the graver, then the more particular.

    Sorting keeps the order of RULES, from the particular to the general.
    """
    return (
        finding.severity == "info",
        CERTAINTIES.index(finding.certainty),
        -SEVERITIES.index(finding.severity),
    )


def _after(findings: list[Finding], cause: str, by: str) -> None:
    """What another finding accounts for goes behind it."""
    causes = [finding.cause for finding in findings]
    if cause in causes and causes.index(cause) < causes.index(by):
        findings.insert(causes.index(by), findings.pop(causes.index(cause)))
