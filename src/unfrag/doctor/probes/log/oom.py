"""PyTorch's out-of-memory messages, in all the wordings since 1.x (``c10/cuda/CUDACachingAllocator.cpp``)."""

from __future__ import annotations

import re

from unfrag.doctor.probes.log.pattern import size
from unfrag.facts.log import Oom

_SIZE = r"([0-9][0-9.,]{0,30}\s*(?:bytes|[KMGT]i?B|B))\b"


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace("SIZE", _SIZE).replace(" ", r"\s*"), re.IGNORECASE)


_ASKED = _compile(r"tried to allocate SIZE")
_TOTAL = _compile(r"total capaci?ty of SIZE|SIZE total capacity|GPU has SIZE total")
_FREE = _compile(r"of which SIZE is free|[;,] SIZE free")
_MINE = _compile(r"this process has SIZE memory in use")
_OTHER = _compile(r"Process \d+ has SIZE memory in use")
_ALLOCATED = _compile(r"SIZE is allocated by PyTorch|SIZE already allocated|PyTorch allocated: SIZE")
_UNALLOCATED = _compile(r"SIZE is reserved by PyTorch but unallocated|reserved but unallocated: SIZE")
_RESERVED = _compile(r"SIZE reserved in total by PyTorch")
_PRIVATE = _compile(r"SIZE allocated in private pools")
_GPU = re.compile(r"\b(?:GPU|NPU|XPU|HPU)\s*(\d+)\b")
_CONTEXT_AT_MOST = 4 * 2**30


def read(text: str) -> Oom | None:
    """The numbers of one message; None when the text asks for nothing. What is not printed stays None."""
    asked = _first(_ASKED, text)
    if asked is None:
        return None
    allocated, unallocated = _first(_ALLOCATED, text), _first(_UNALLOCATED, text)
    reserved = _first(_RESERVED, text)
    if unallocated is None and reserved is not None and allocated is not None:
        unallocated = max(0, reserved - allocated)
    mine = _first(_MINE, text)
    listed = [value for found in _OTHER.finditer(text) if (value := _bytes(found[1])) is not None]
    if not mine:  # inside a container PyTorch cannot find its own pid in the driver's list, and prints 0 bytes
        mine = _own(listed, allocated, unallocated)
        if mine is not None:
            listed.remove(mine)
    gpu = _GPU.search(text)
    return Oom(
        text=text[:900],
        asked=asked,
        total=_first(_TOTAL, text),
        free=_first(_FREE, text),
        mine=mine or None,
        others=sum(listed) if listed else None,
        allocated=allocated,
        unallocated=unallocated,
        private_pools=_first(_PRIVATE, text),
        gpu=int(gpu[1]) if gpu and len(gpu[1]) < 4 else None,
    )


def _own(listed: list[int], allocated: int | None, unallocated: int | None) -> int | None:
    """Which of the listed processes is this one: what it holds in PyTorch, and a context beside it."""
    if allocated is None:
        return None
    held = allocated + (unallocated or 0)
    near = [value for value in listed if -(2**28) <= value - held <= _CONTEXT_AT_MOST]
    return min(near, default=None)


def _first(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return _bytes(next(group for group in found.groups() if group is not None)) if found else None


def _bytes(said: str) -> int | None:
    value = size(said) if len(said) < 40 else None
    return int(value) if value is not None and 0 <= value < 2**53 else None
