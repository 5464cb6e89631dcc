"""Results side by side: medians, spread over repeats, change against the first."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from unfrag.bench.result import Repeat, Result


_LARGEST_CHANGE = 1e6
_LARGEST = 1e18  # beyond it nothing was measured: the value is unknown


class Cell(msgspec.Struct, frozen=True):
    """One number of one result: median over repeats, smallest, largest, and change against the first result."""

    median: float | None
    low: float | None
    high: float | None
    change: float | None = None


class Row(msgspec.Struct, frozen=True):
    """One measure over all results. ``better`` is "lower", "higher" or "neither"; ``unit`` scales the display."""

    name: str
    unit: str
    better: str
    cells: tuple[Cell, ...]


_OF_REPEATS: tuple[tuple[str, str, str, Callable[[Repeat], float | None]], ...] = (
    ("TTFT P50", "s", "lower", lambda r: r.ttft_p50),
    ("TTFT P95", "s", "lower", lambda r: r.ttft_p95),
    ("TTFT P99", "s", "lower", lambda r: r.ttft_p99),
    ("TPOT P50", "ms", "lower", lambda r: _times_1000(r.tpot_p50)),
    ("TPOT P95", "ms", "lower", lambda r: _times_1000(r.tpot_p95)),
    ("tokens per second", "", "higher", lambda r: r.tokens_per_second),
    ("prefix-cache hit rate", "%", "higher", lambda r: _times_100(r.prefix_hit_rate)),
    ("KV pool in use, mean", "%", "neither", lambda r: _times_100(r.kv_usage_mean)),
    ("tokens held per MiB of pool", "", "higher", lambda r: r.tokens_per_mib),
    ("preempted requests", "", "lower", lambda r: r.preempted),
    ("failed requests", "", "lower", lambda r: r.failed),
)


def compare(results: list[Result]) -> list[Row]:
    """One row a measure, one cell a result; the first result is what the others are measured against."""
    rows = [
        Row(name, unit, better, _cells([[read(r) for r in result.repeats] for result in results]))
        for name, unit, better, read in _OF_REPEATS
    ]
    if any(result.max_concurrency for result in results):
        values = [[_float(found.value) for found in result.max_concurrency] for result in results]
        rows.insert(5, Row("maximum concurrency", "", "higher", _cells(values)))
    if any(result.pool_tokens for result in results):
        rows.insert(6, Row("pool size, tokens", "", "higher", _cells([[_float(r.pool_tokens)] for r in results])))
    return rows


def _cells(columns: list[list[float | None]] | list[list[float]]) -> tuple[Cell, ...]:
    cells: list[Cell] = []
    for column in columns:
        known = [value for value in column if value is not None and abs(value) <= _LARGEST]
        median = statistics.median(known) if known else None
        base = cells[0].median if cells else None
        change = median / base - 1 if median is not None and base else None
        if change is not None and abs(change) > _LARGEST_CHANGE:
            change = None  # against nearly nothing everything is endlessly more
        cells.append(Cell(median, min(known, default=None), max(known, default=None), change))
    return tuple(cells)


def _float(value: int | None) -> float | None:
    return None if value is None or abs(value) > _LARGEST else float(value)


def _times_1000(value: float | None) -> float | None:
    return None if value is None else value * 1000


def _times_100(value: float | None) -> float | None:
    return None if value is None else value * 100
