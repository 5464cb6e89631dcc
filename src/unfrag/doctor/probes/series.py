"""Memory that was measured again and again: found in pasted text, in whatever way people write it down.

On one line ("RSS GiB: start 6.00, +12h 6.57"), one value a line, or ``name=value`` columns; what is measured stands on
the line or in a heading above it.
"""

from __future__ import annotations

import re

from unfrag.doctor.probes.log.pattern import size
from unfrag.facts.snapshot import Series

_WHAT = (
    (
        "gpu",
        r"nvidia-smi|memory\.used|\bGPU[ _-]?mem|VRAM|FB[ _]used|DCGM_FI_DEV_FB_\w+|cuda[ _]?mem|cudaMemGetInfo|non[-_ ]?torch|torch[. _](?:cuda[. _])?reserved|memory_reserved|显存",
    ),
    (
        "host",
        r"\bRSS\b|\bRES\b|resident|VmRSS|host[ _]mem|container[ _]mem|working[ _-]?set|MEM USAGE|memory\.current|\bRAM\b|anon[-_]rss|kubectl top|docker stats|物理内存|主机内存|内存占用",
    ),
)
_ENGINE_LINE = re.compile(
    r"avail mem|mem usage=|token usage|KV cache|Killed process|oom-kill|tried to allocate|ailable memory", re.IGNORECASE
)
_LOG_LINE = re.compile(r"\b(?:DEBUG|INFO|WARNING|ERROR)\b|Loading safetensors|it/s\]")
_TIMES = re.compile(r"(?:hours?|days?|time|minutes?|requests|小时|时间|天)\b[\s|:]", re.IGNORECASE)
_UNIT = re.compile(r"(?<![A-Za-z])([KMGT]i?B|[KMG]i)\b", re.IGNORECASE)
_AMOUNT = re.compile(
    r"(?<![\w.:/-])([0-9][0-9,]{0,30}(?:\.[0-9]{1,30})?)\s{0,20}([KMGT]i?B?|bytes)?(?![\w.:-]|\s*%)", re.IGNORECASE
)
_COLUMN = re.compile(
    r"([A-Za-z_][\w.()]{0,60})\s?[=:]\s?([0-9][0-9,.]{0,30})\s?([KMGT]i?B?|bytes)?(?![\w%])", re.IGNORECASE
)
_NOISE = re.compile(
    r"\([^()]{0,300}\)|/\s{0,9}[0-9.,]{1,30}\s{0,9}[KMGT]i?B?\b|\d{4}[-/]\d\d[-/]\d\d\S*|\b\d\d[-/]\d\d\b|\b\d{1,2}:\d\d(?::\d\d)?(?:[.,]\d+)?\b"
    r"|[+~]?\b\d{1,20}(?:\.\d{1,20})?\s?(?:hours?|hrs?|h|days?|d|minutes?|min|m|weeks?|w|seconds?|secs?|s|周|天|小时|分钟|点)(?![A-Za-z])"
    r"|\b\d{1,6}\s?[x×]?\s?(?:v?CPUs?|cores?|GPUs?|cards?|machines?|nodes?|核|卡|张)(?![A-Za-z])"
    r"|\b\d[\d,]{0,20}\s?(?:req\w*|rounds?|steps?|iter\w*|turns?|pages?|blocks?|tokens?)\b"
    r"|\b(?:day|hour|week|pid|t|req|req/s|rps|qps|cpu|running|waiting|threads?|fds?)\s?[=:]?\s?\d[\d.,]{0,20}[KMGkm]?\b|\b[0-9a-f]{12}\b",
    re.IGNORECASE,
)
_SUMMARY = re.compile(r"\b(?:min|mean|max|avg|limit|total|capacity|p50|p95)\b.*|\bof\s+\d\S*", re.IGNORECASE)
_HOURS = re.compile(r"(?<!\d)(\d{1,9}(?:\.\d{1,9})?)\s?(h|hr|hrs|hours?|d|days?|天|小时)(?![A-Za-z])", re.IGNORECASE)
_SMALLEST = 16 << 20  # what a person watches is not smaller
_LINES, _LONGEST_LINE = 20_000, 2000


def read(text: str) -> tuple[Series, ...]:
    """Every series of at least two values; those of one kind in the order of the text."""
    found: list[Series] = []
    columns: dict[tuple[str, str], list[tuple[float, str]]] = {}
    heading, unit = None, None
    for raw in text.splitlines()[:_LINES]:
        line = raw[:_LONGEST_LINE].strip()
        if not line or (_LOG_LINE.search(line) and "=" not in line) or _ENGINE_LINE.search(line):
            continue
        own = _what(line)
        if (
            own is not None
            and not _LOG_LINE.search(line)
            and (line.startswith("#") or line.endswith(":") or not re.search(r"\d{2}", line))
        ):
            heading, unit = own, _UNIT.search(line)
        keyed = [(_what(key), key, value) for key, value in _keyed(line)]
        if any(what for what, _, _ in keyed) and len(keyed) > 1:
            for what, key, value in keyed:
                if what is not None:
                    columns.setdefault((what, key), []).append((value, line))
            continue
        what = own or heading
        if _TIMES.match(line):
            continue
        if what is None or _LOG_LINE.search(line):
            continue
        values = _values(line, unit)
        if len(values) >= 2 and (own is not None or (unit is not None and len(values) >= 4)):
            found.append(Series(what, tuple(values), line[:300], _hours(line)))
        elif len(values) == 1 or (values and own is None):
            label = re.sub(r"\s+", " ", re.sub(r"[\d.,:/+TZ-]+", "#", line))[:40]
            columns.setdefault((what, label), []).append((values[0], line))
    return (*found, *_tables(text), *_columns(columns, falling=bool(re.search(r"FB_FREE|memory\.free", text))))


def _columns(columns: dict[tuple[str, str], list[tuple[float, str]]], falling: bool) -> list[Series]:
    """One value a line. ``falling``: what is free was measured, so its fall is the growth of what is used."""
    found: list[Series] = []
    for (what, _), pairs in columns.items():
        if len(pairs) < 3:
            continue
        values = [value for value, _ in pairs[-2000:]]
        if falling and what == "gpu":
            values = [max(values) - value + _SMALLEST for value in values]
        found.append(Series(what, tuple(values), f"{pairs[0][1][:140]} … {pairs[-1][1][:140]}"))
    return found


def _tables(text: str) -> list[Series]:
    """Columns under a header that says what they are: ``requests  RES(GB)  GPU(MiB)``."""
    found: list[Series] = []
    lines = text.splitlines()[:_LINES]
    for i, line in enumerate(lines):
        names = re.split(r"\s{2,}|\t", line.strip()[:400])
        kinds = [(_what(name), _UNIT.search(name)) for name in names]
        if len(names) < 2 or not any(what and unit for what, unit in kinds):
            continue
        rows = []
        for row in lines[i + 1 : i + 500]:
            cells = row.split()
            if len(cells) != len(names) or not all(re.fullmatch(r"[\d.,]+", cell) for cell in cells):
                break
            rows.append(cells)
        for column, (what, unit) in enumerate(kinds):
            values = [size(f"{row[column]} {unit[1]}") for row in rows] if what and unit else []
            if what and len(values) >= 3:
                whole = f"{names[column]}: {rows[0][column]} … {rows[-1][column]}"
                found.append(Series(what, tuple(value or 0.0 for value in values), whole))
    return found


def _what(text: str) -> str | None:
    return next((name for name, pattern in _WHAT if re.search(pattern, text, re.IGNORECASE)), None)


def _keyed(line: str) -> list[tuple[str, float]]:
    """``torch.reserved=70.48GiB``: (name, bytes)."""
    said = [(key, size(f"{amount} {unit}")) for key, amount, unit in _COLUMN.findall(line) if unit]
    return [(key, value) for key, value in said if value]


def _values(line: str, heading_unit: re.Match[str] | None) -> list[float]:
    """The amounts of a line in bytes, without times, shares, limits and summaries."""
    default = _UNIT.search(line) or heading_unit
    bare = _SUMMARY.sub("", _NOISE.sub(" ", line))
    values: list[float] = []
    for amount, unit in _AMOUNT.findall(bare):
        value = size(f"{amount} {unit or (default[1] if default else 'B')}")
        if value is not None and value >= _SMALLEST:
            values.append(value)
    return values


def _hours(line: str) -> float | None:
    spans = [float(n) * (24 if unit[0] in "dD天" else 1) for n, unit in _HOURS.findall(line)]
    return max(spans, default=None)
