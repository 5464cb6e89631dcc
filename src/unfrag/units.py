"""Bytes and counts as programs write them, read and written in one way.

Programs write GB and mean GiB (vLLM, SGLang, PyTorch), so every unit of bytes is a power of 1024.
"""

from __future__ import annotations

import re

KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40
_BYTES = {"": 1, "B": 1, "K": KIB, "M": MIB, "G": GIB, "T": TIB}
_COUNTS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000, "K": KIB, "M": MIB, "G": GIB}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE | re.ASCII)
_COUNT = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)([kKmMgG]?)", re.ASCII)


def size(count: float) -> str:
    """``14.1 GiB``; below a KiB in bytes."""
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < KIB:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= KIB
    return f"{count:.1f} GiB"


def scale(unit: str) -> int | None:
    """Bytes of one ``KiB``, ``MB``, ``g`` or ``bytes``; None: it is no unit of bytes."""
    return _BYTES.get(unit[:1].upper())


def read_size(text: str) -> int:
    """``268435456``, ``256MiB``, ``256M``, ``1.5g``: bytes.

    Raises:
        ValueError: it is no size.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text} is no size")
    return int(float(found[1]) * _BYTES[found[2].upper()])


def read_count(text: str) -> float:
    """A number as vLLM's ``human_readable_int`` takes it: ``128k`` is 128,000, ``128K`` is 131,072.

    Raises:
        ValueError: it is none.
    """
    found = _COUNT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text} is no number")
    return float(found[1]) * _COUNTS[found[2]]
