"""What a bench found, as written to disk, and how its numbers are computed."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import msgspec

from unfrag.bench.sampler import Sample
from unfrag.redaction import redact
from unfrag.system.decode import decoded
from unfrag.system.files import read_file, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from unfrag.bench.load import RequestResult

SCHEMA_VERSION = 1


class Repeat(msgspec.Struct, frozen=True):
    """One pass over the workload. Times are seconds; None where nothing was measured."""

    requests: int
    failed: int
    preempted: int | None
    seconds: float
    ttft_p50: float | None
    ttft_p95: float | None
    ttft_p99: float | None
    tpot_p50: float | None
    tpot_p95: float | None
    tokens_per_second: float
    prefix_hit_rate: float | None
    kv_usage_mean: float | None
    kv_usage_peak: float | None
    tokens_per_mib: float | None
    errors: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()


class Trial(msgspec.Struct, frozen=True):
    """One step of the search for the maximum concurrency: ``why`` says what stopped it, None when it held."""

    in_flight: int
    failed: int
    preempted: int | None
    ttft_p95: float | None
    why: str | None


class MaxConcurrency(msgspec.Struct, frozen=True):
    """The most requests in flight that held; 0 when none did. ``at_ceiling``: the search stopped at its own limit."""

    value: int
    ttft_limit: float
    at_ceiling: bool
    trials: tuple[Trial, ...]


class Result(msgspec.Struct, frozen=True):
    """One configuration under one workload."""

    label: str
    target: str
    engine_version: str | None
    command: str | None
    workload: str
    in_flight: int
    repeats: tuple[Repeat, ...]
    max_concurrency: tuple[MaxConcurrency, ...] = ()
    pool_bytes: int | None = None
    pool_tokens: int | None = None
    schema_version: int = SCHEMA_VERSION

    def write(self, path: Path) -> None:
        """For its owner alone: it holds the line that the server was started with, if without keys."""
        write_atomically(path, msgspec.json.format(msgspec.json.encode(self), indent=1), private=True)
        path.chmod(0o600)


def read_result(path: Path) -> Result:
    """Raises UsageError: not there, not a result, or of another version."""
    return decoded(read_file(path), f"{path} is not a result of `unfrag bench`: it", Result)


def summarise(
    requests: list[RequestResult],
    samples: list[Sample],
    preempted: float | None,
    prefix_hit_rate: float | None,
) -> Repeat:
    """One repeat from its requests and samples."""
    good = [r for r in requests if r.ok]
    starts = [r.start for r in requests if r.start is not None]
    ends = [r.end for r in requests if r.end is not None]
    seconds = max(ends) - min(starts) if starts and ends else 0.0
    ttft = [r.ttft for r in good if r.ttft is not None]
    tpot = [r.tpot for r in good if r.tpot is not None]
    during = [s for s in samples if starts and ends and min(starts) <= s.at <= max(ends)]
    usage = [s.usage for s in during if s.usage is not None]
    return Repeat(
        requests=len(requests),
        failed=len(requests) - len(good),
        preempted=None if preempted is None else int(preempted),
        seconds=seconds,
        ttft_p50=percentile(ttft, 50),
        ttft_p95=percentile(ttft, 95),
        ttft_p99=percentile(ttft, 99),
        tpot_p50=percentile(tpot, 50),
        tpot_p95=percentile(tpot, 95),
        tokens_per_second=sum(r.prompt_tokens + r.output_tokens for r in good) / seconds if seconds else 0.0,
        prefix_hit_rate=prefix_hit_rate,
        kv_usage_mean=mean(usage),
        kv_usage_peak=max(usage, default=None),
        tokens_per_mib=mean(s.tokens_per_mib for s in during if s.tokens_per_mib is not None),
        errors=tuple(sorted({redact(r.error) for r in requests if r.error}))[:5],
        samples=tuple(samples),
    )


def percentile(values: list[float], rank: int) -> float | None:
    """Linear interpolation between the two nearest values (inclusive); None without values."""
    if len(values) < 2:
        return values[0] if values else None
    return statistics.quantiles(values, n=100, method="inclusive")[rank - 1]


def mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.fmean(found) if found else None
