"""A PyTorch allocator snapshot (``torch.cuda.memory._snapshot()``), as its pickle or as JSON.

The pickle is read without executing anything: every global it names is refused.
Read in ``torch/cuda/memory.py`` and ``torch/csrc/cuda/memory_snapshot.cpp`` of 2.13.
"""

from __future__ import annotations

import io
import pickle
import stat
from typing import TYPE_CHECKING, Any

import msgspec

from unfrag.facts import Allocator, Unknown

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST_FILE = 512 << 20
NAMES = ("snapshot.pickle", "snapshot.pkl", "snapshot.json", "memory_snapshot.pickle", "memory_snapshot.json")


class _Refused(Exception):
    pass


class _PlainUnpickler(pickle.Unpickler):
    """Numbers, texts, lists and dictionaries only."""

    def find_class(self, module: str, name: str) -> Any:
        raise _Refused(f"it asks for {module}.{name}, which an allocator snapshot never does")

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused("it refers to data outside the file")


def read(path: Path) -> tuple[Allocator, ...] | Unknown:
    """One entry per device."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return Unknown(f"{path} is no regular file")
        if status.st_size > _LARGEST_FILE:
            return Unknown(f"{path} is larger than {_LARGEST_FILE >> 20} MiB; take the snapshot with max_entries=0")
        return parse(path.read_bytes(), path.name)
    except OSError as fault:
        return Unknown(f"{path}: {fault.strerror}")


def parse(content: bytes, name: str = "the snapshot") -> tuple[Allocator, ...] | Unknown:
    """Either form."""
    try:
        if content.lstrip()[:1] in (b"{", b"["):
            raw: Any = msgspec.json.decode(content)
        else:
            raw = _PlainUnpickler(io.BytesIO(content)).load()
        segments = raw["segments"] if isinstance(raw, dict) else raw
        devices: dict[int, list[dict[str, Any]]] = {}
        for segment in segments:
            devices.setdefault(int(segment.get("device", 0)), []).append(segment)
        if not devices:
            return Unknown(f"{name} has no segment")
        return tuple(_device(device, devices[device]) for device in sorted(devices))
    except _Refused as fault:
        return Unknown(f"{name} was not read: {fault}")
    except Exception as fault:
        return Unknown(f"{name} is no allocator snapshot: {type(fault).__name__}")


def _device(device: int, segments: list[dict[str, Any]]) -> Allocator:
    free_blocks: list[int] = []
    split = 0
    for segment in segments:
        free = [int(b["size"]) for b in segment.get("blocks", ()) if b.get("state") == "inactive"]
        free_blocks += free
        if len(segment.get("blocks", ())) > len(free):
            split += sum(free)
    return Allocator(
        device=device,
        reserved_bytes=sum(int(s["total_size"]) for s in segments),
        allocated_bytes=sum(int(s["allocated_size"]) for s in segments),
        free_in_segments_bytes=sum(free_blocks),
        largest_free_bytes=max(free_blocks, default=0),
        inactive_split_bytes=split,
        segments=len(segments),
        expandable=any(s.get("is_expandable") for s in segments),
    )
