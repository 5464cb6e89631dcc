"""Which servers a guard watches: one from the command line, or many from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from unfrag.errors import UsageError
from unfrag.launchers.place import Place

if TYPE_CHECKING:
    from pathlib import Path


class Target(Place, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server, and the place it is started from. Without a place it is watched and flushed, and nobody restarts it.

    ``memory_limit``: bytes of host memory of a rank that has no card.
    """

    url: str
    name: str = ""
    memory_limit: int | None = None

    @property
    def label(self) -> str:
        return self.name or self.url.split("://")[-1].rstrip("/")


class _Group(msgspec.Struct):
    """An entry of Prometheus' ``file_sd_configs``."""

    targets: list[str]
    labels: dict[str, Any] = {}


def from_file(path: Path) -> list[Target]:
    """A JSON list of :class:`Target`, or of Prometheus' file service discovery (``host:port`` becomes ``http://host:port``).

    Raises:
        UsageError: it is neither, or names a server twice.
    """
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise UsageError(f"{path}: {fault.strerror}") from fault
    try:
        found = [_target(entry) for entry in msgspec.json.decode(content, type=list[dict[str, Any]])]
    except msgspec.MsgspecError as fault:
        raise UsageError(f"{path}: {fault}; a list of objects with url, or with targets, is wanted") from fault
    targets = [target for group in found for target in group]
    labels = [target.label for target in targets]
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise UsageError(f"{path}: {twice} is named twice")
    if not targets:
        raise UsageError(f"{path} names no server")
    return targets


def _target(entry: dict[str, Any]) -> list[Target]:
    if "targets" not in entry:
        return [msgspec.convert(entry, Target)]
    group = msgspec.convert(entry, _Group)
    scheme = group.labels.get("__scheme__", "http")
    return [Target(url=address if "://" in address else f"{scheme}://{address}") for address in group.targets]
