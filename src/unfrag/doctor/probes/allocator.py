"""A PyTorch allocator snapshot (``torch.cuda.memory._snapshot()``), as its pickle or as JSON.

The pickle is read without executing anything: every global it names is refused.
Read in ``torch/cuda/memory.py`` and ``torch/csrc/cuda/memory_snapshot.cpp`` of 2.13.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from unfrag.doctor.probes import pickles
from unfrag.errors import UsageError
from unfrag.facts.snapshot import Allocator
from unfrag.facts.values import Unknown
from unfrag.system.files import read_file

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST_FILE = 64 << 20
_MOST_BLOCKS = 2_000_000
NAMES = ("snapshot.pickle", "snapshot.pkl", "snapshot.json", "memory_snapshot.pickle", "memory_snapshot.json")


class _Block(msgspec.Struct):
    size: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    state: str


class _Segment(msgspec.Struct):
    """What is read of a segment; whatever else it holds (traces, frames) is passed over."""

    total_size: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    allocated_size: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    device: Annotated[int, msgspec.Meta(ge=-1, le=65_535)] = 0
    blocks: list[_Block] = []
    is_expandable: bool = False


class _Snapshot(msgspec.Struct):
    segments: list[_Segment]


def read(path: Path) -> tuple[Allocator, ...] | Unknown:
    """One entry per device."""
    try:
        return parse(read_file(path, _LARGEST_FILE), path.name)
    except UsageError as fault:
        return Unknown(f"{fault}; take the snapshot with max_entries=0" if "larger" in str(fault) else str(fault))


def parse(content: bytes, name: str = "the snapshot") -> tuple[Allocator, ...] | Unknown:
    """Either form."""
    try:
        start = content[:64].lstrip()[:1]
        if start in (b"{", b"["):
            kind: Any = _Snapshot if start == b"{" else list[_Segment]
            found = msgspec.json.decode(content, type=kind)
            segments = found.segments if start == b"{" else found
        else:
            raw = pickles.load(content)
            segments = _segments(raw["segments"] if isinstance(raw, dict) else raw)
        devices: dict[int, list[_Segment]] = {}
        for segment in segments:
            devices.setdefault(segment.device, []).append(segment)
        if not devices:
            return Unknown(f"{name} has no segment")
        return tuple(_device(device, devices[device]) for device in sorted(devices))
    except pickles.Refused as fault:
        return Unknown(f"{name} was not read: {fault}")
    except Exception as fault:
        return Unknown(f"{name} is no allocator snapshot: {type(fault).__name__}")


def _segments(raw: Any) -> list[_Segment]:
    """Of a pickle, in which one part may stand in many places: all places count."""
    found: list[_Segment] = []
    left = _MOST_BLOCKS
    for segment in raw:
        left -= 1 + len(segment.get("blocks", ()))
        if left < 0:
            raise pickles.Refused("it holds more blocks than any process has")
        wanted = {name: segment[name] for name in _Segment.__struct_fields__ if name in segment and name != "blocks"}
        blocks = [_Block(_size(block["size"]), str(block["state"])[:40]) for block in segment.get("blocks", ())]
        found.append(msgspec.structs.replace(msgspec.convert(wanted, _Segment), blocks=blocks))
    return found


def _size(said: Any) -> int:
    if not isinstance(said, int) or not 0 <= said <= 2**53:
        raise ValueError("no size")
    return said


def _device(device: int, segments: list[_Segment]) -> Allocator:
    free_blocks: list[int] = []
    split = 0
    for segment in segments:
        free = [block.size for block in segment.blocks if block.state == "inactive"]
        free_blocks += free
        if len(segment.blocks) > len(free):
            split += sum(free)
    return Allocator(
        device=device,
        reserved_bytes=sum(segment.total_size for segment in segments),
        allocated_bytes=sum(segment.allocated_size for segment in segments),
        free_in_segments_bytes=sum(free_blocks),
        largest_free_bytes=max(free_blocks, default=0),
        inactive_split_bytes=split,
        segments=len(segments),
        expandable=any(segment.is_expandable for segment in segments),
    )
