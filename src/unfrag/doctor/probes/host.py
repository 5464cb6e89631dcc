"""The memory of this machine or container: RAM, its cgroup's limit (v1 and v2), ``/dev/shm``, kills by the kernel."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from unfrag.facts.snapshot import Host
from unfrag.facts.values import Unknown

_NO_LIMIT = 1 << 60


def read(root: Path = Path("/")) -> Host | Unknown:
    """``root`` is where /proc, /sys and /dev are looked for."""
    try:
        memory = psutil.virtual_memory()
    except (OSError, psutil.Error) as fault:
        return Unknown(f"host memory: {fault}")
    two, one = root / "sys/fs/cgroup", root / "sys/fs/cgroup/memory"
    limit = _number(two / "memory.max") or _number(one / "memory.limit_in_bytes")
    used = _number(two / "memory.current") or _number(one / "memory.usage_in_bytes")
    shm, shm_free = _space(root / "dev/shm")
    return Host(
        ram_bytes=memory.total,
        available_bytes=memory.available,
        limit_bytes=limit if limit is not None and limit < _NO_LIMIT else None,
        used_bytes=used,
        shm_bytes=shm,
        shm_free_bytes=shm_free,
        oom_kills=_kills(two / "memory.events", one / "memory.oom_control"),
    )


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() and len(text) < 22 else None


def _kills(*paths: Path) -> int | None:
    for path in paths:
        for line in _text(path).splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill" and value.strip().isdecimal():
                return int(value)
    return None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(65_536).decode("utf-8", "replace")
    except OSError:
        return ""


def _space(path: Path) -> tuple[int | None, int | None]:
    try:
        space = os.statvfs(path)
    except OSError:
        return None, None
    return space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
