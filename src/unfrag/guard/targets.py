"""Which servers a guard watches: one from the command line, many from a file, or all that a name resolves to."""

from __future__ import annotations

import shlex
import socket
from pathlib import Path
from typing import Any

import msgspec

from unfrag.errors import UsageError
from unfrag.launchers.place import Place
from unfrag.server.client import address
from unfrag.system.decode import decoded
from unfrag.system.files import read_file


class Target(Place, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server, and the place it is started from. Without a place it is watched and flushed, and nobody restarts it.

    ``memory_limit``: bytes of host memory of a rank that has no card.
    """

    url: str
    name: str = ""
    memory_limit: int | None = None

    @property
    def label(self) -> str:
        """What it is called where people read; without a login that its URL may hold."""
        return self.name or self.address.partition("://")[2]

    @property
    def address(self) -> str:
        """Its URL without a login."""
        scheme, _, rest = self.url.rstrip("/").rpartition("://")
        host, slash, path = rest.partition("/")
        return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"

    @property
    def origin(self) -> str:
        """What names its place on a command line, without how a supervisord is reached; empty: there is no place."""
        return shlex.join(msgspec.structs.replace(self, server=None).words())

    @property
    def identity(self) -> str:
        """What tells it from every other, also of another machine with the same addresses."""
        return f"{socket.gethostname()} {self.url} {self}"


_Entries = list[dict[str, Any]]


class _Group(msgspec.Struct):
    """An entry of Prometheus' ``file_sd_configs``."""

    targets: list[str]
    labels: dict[str, Any] = {}


class _Names(msgspec.Struct, forbid_unknown_fields=True):
    dns: str
    scheme: str = "http"


def from_file(path: Path) -> list[Target]:
    """A JSON list; its entries are :class:`Target`, Prometheus' file service discovery, or ``{"dns": "NAME:PORT"}``.

    Raises:
        UsageError: it is none of these, names a server twice, or a name that does not resolve.
    """
    entries = decoded(read_file(path), f"{path}: a list of objects with url, targets or dns is wanted; it", _Entries)
    try:
        found = [_target(entry) for entry in entries]
    except msgspec.MsgspecError as fault:
        raise UsageError(f"{path}: {fault}; a list of objects with url, targets or dns is wanted") from fault
    targets = [target for group in found for target in group]
    for target in targets:
        checked(target)
    labels = [target.label for target in targets]
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise UsageError(f"{path}: {twice} is named twice")
    if not targets:
        raise UsageError(f"{path} names no server")
    return targets


def checked(target: Target) -> Target:
    """The target itself. Raises UsageError: its URL is no address, or its file is not there."""
    address(target.url)
    for path in (target.config, target.compose):
        if path and not Path(path).exists():
            raise UsageError(f"{path}: no such file; it is the place of {target.label}")
    return target


def from_dns(name: str, scheme: str = "http") -> list[Target]:
    """A server at every address that ``NAME:PORT`` resolves to (A and AAAA records).

    Raises:
        UsageError: it has no port, or does not resolve.
    """
    host, _, port = name.rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"{name} is no NAME:PORT")
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as fault:
        raise UsageError(f"{host} does not resolve: {fault}") from fault
    return [
        Target(url=f"{scheme}://{f'[{address}]' if ':' in address else address}:{port}") for address in sorted(found)
    ]


def _target(entry: dict[str, Any]) -> list[Target]:
    if "dns" in entry:
        names = msgspec.convert(entry, _Names)
        return from_dns(names.dns, names.scheme)
    if "targets" not in entry:
        return [msgspec.convert(entry, Target)]
    group = msgspec.convert(entry, _Group)
    scheme = str(group.labels.get("__scheme__", "http"))
    return [Target(url=address if "://" in address else f"{scheme}://{address}") for address in group.targets]
