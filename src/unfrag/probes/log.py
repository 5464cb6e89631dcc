"""A server's log, read for failed allocations: PyTorch's OutOfMemoryError and the article's lines.

Reads line by line, so that memory does not grow with the file; any bytes are taken.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from unfrag.facts import AllocationFailure, Log, Unknown

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_UNITS = {"B": 1, "bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE = r"([0-9]+(?:\.[0-9]+)?)\s*(bytes|B|KiB|MiB|GiB|TiB)"
_ASKED = re.compile(rf"[Tt]ried to allocate {_SIZE}")
_FREE = re.compile(rf"of which {_SIZE} is free|;\s*{_SIZE} free|[Ff]ree memory: {_SIZE}")
_RESERVED = re.compile(rf"{_SIZE} is reserved by PyTorch but unallocated")
_OOM = re.compile(r"out of memory|\bOOM\b|OutOfMemoryError", re.IGNORECASE)
_TORCH_OOM = re.compile(r"(CUDA|HIP|XPU) out of memory|OutOfMemoryError")
_FAILED = re.compile(r"fail|error|cannot|unable", re.IGNORECASE)
_LOAD_TIMEOUT = re.compile(r"time[d -]*out waiting for model load", re.IGNORECASE)
_LONGEST_LINE = 16_384
_KEEP = 20
_SAMPLE = 65_536
_NOISE = 0.2


def read(path: Path) -> Log | Unknown:
    """Read a log file from its beginning."""
    try:
        with path.open("rb") as stream:
            why = _not_text(stream.read(_SAMPLE))
            if why:
                return Unknown(f"{path} {why}")
            stream.seek(0)
            return parse(_lines(stream))
    except OSError as fault:
        return Unknown(f"{path}: {fault.strerror}")


def _not_text(sample: bytes) -> str | None:
    """Empty, or mostly bytes that no log prints. A truncated character or a little noise is let pass."""
    if not sample.strip():
        return "is empty"
    text = sample.decode("utf-8", "replace")
    noise = sum(char == "\ufffd" or (char < " " and char not in "\t\r\n\x1b\0") for char in text)
    return "is not text" if noise > len(text) * _NOISE else None


def _lines(stream: Iterable[bytes]) -> Iterable[str]:
    for line in stream:
        yield line[:_LONGEST_LINE].decode("utf-8", "replace")


def parse(lines: Iterable[str]) -> Log:
    """Judge nothing, gather what the lines print."""
    failures: deque[AllocationFailure] = deque(maxlen=_KEEP)
    count, timed_out, last = 0, False, ""
    for raw in lines:
        line = _ANSI.sub("", raw[:_LONGEST_LINE]).replace("\0", "").strip()
        if not line:
            continue
        count += 1
        last = line
        timed_out = timed_out or bool(_LOAD_TIMEOUT.search(line))
        free_but_failed = _FREE.search(line) and (_OOM.search(line) or _FAILED.search(line))
        if _ASKED.search(line) or _TORCH_OOM.search(line) or free_but_failed:
            failures.append(_failure(line))
    return Log(count, tuple(failures), timed_out, last[:300])


def _failure(line: str) -> AllocationFailure:
    return AllocationFailure(line[:600], _size(_ASKED, line), _size(_FREE, line), _size(_RESERVED, line))


def _size(pattern: re.Pattern[str], line: str) -> int | None:
    found = pattern.search(line)
    if found is None:
        return None
    number, unit = [group for group in found.groups() if group is not None][:2]
    return int(float(number) * _UNITS[unit])
