"""The facts of a diagnosis, field by field: numbers as they are, words only when they are known."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import msgspec

from unfrag.doctor.allowed import addresses, tokens, vocabulary
from unfrag.doctor.allowed.line import allow
from unfrag.doctor.allowed.log import allow_log
from unfrag.facts.snapshot import Gpus, Snapshot
from unfrag.redaction import TAKEN, redact
from unfrag.redaction.names import is_of_users, is_secret

_OF_PROGRAMS = (
    "kind",
    "type",
    "what",
    "source",
    "why",
    "note",
    "rank",
    "frames",
    "name",
    "device",
    "nodes",
)
_COUNTS = re.compile(r"[\d., ]{1,200}")
_KEY = re.compile(r"[A-Za-z_][\w.-]{0,80}")


def allow_facts(snapshot: Snapshot) -> Snapshot:
    """The same facts without what is not known to be harmless."""
    if isinstance(snapshot.gpus, Gpus):
        snapshot = msgspec.structs.replace(snapshot, gpus=_numbered(snapshot.gpus))
    return msgspec.convert(_any("", msgspec.to_builtins(snapshot)), Snapshot)


def _numbered(gpus: Gpus) -> Gpus:
    """Cards by number: a UUID is one card's in the world."""
    numbers: dict[str, str] = {}

    def number(uuid: str | None) -> str | None:
        return uuid and numbers.setdefault(uuid, f"GPU-{len(numbers)}")

    cards = tuple(msgspec.structs.replace(gpu, uuid=number(gpu.uuid)) for gpu in gpus.gpus)
    processes = tuple(msgspec.structs.replace(one, gpu_uuid=number(one.gpu_uuid)) for one in gpus.processes)
    return msgspec.structs.replace(gpus, gpus=cards, processes=processes)


def _any(field: str, value: Any) -> Any:
    if isinstance(value, str):
        return _text(field, value)
    if isinstance(value, list | tuple):
        return [_any(field, inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if field in ("flags", "env", "cache_config"):
        return dict(filter(None, (_named(field, *item) for item in value.items())))
    if field == "words":
        return {name: said if _is_count(said) else _text(name, said) for name, said in value.items()}
    return {name: _any(name, inner) for name, inner in value.items()}


def _text(field: str, value: str) -> str:
    if field in ("kind", "type", "terms"):
        return value  # words of ours
    if field in ("uuid", "gpu_uuid"):
        return value  # a number by now
    if field == "last_line":
        return allow_log(value).text
    if field == "target":
        return _target(value)
    return "\n".join(_line(line, field in _OF_PROGRAMS) for line in redact(value).split("\n"))


def _is_count(text: str) -> bool:
    return bool(_COUNTS.fullmatch(text)) and not addresses.is_others(text)


def _line(line: str, plain: bool) -> str:
    return allow(line, plain).text


def _target(value: str) -> str:
    """An address of this machine, or that there was another, or a folder."""
    if not value.startswith(("http://", "https://")):
        return "pasted evidence"
    parts = urlsplit(value)
    host = parts.hostname or ""
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    return f"{parts.scheme}://{host if addresses.is_own(host) else 'another-machine'}{port}"


def _named(field: str, name: str, value: str | None) -> tuple[str, str | None] | None:
    """A flag, a variable or a label, and its value; None when its name says too much already."""
    if not _is_known(field, name):
        return None
    if value is None:
        return name, None
    if is_secret(name) or is_of_users(name):
        kept = redact(f"{name}={value}").partition("=")[2]
        return name, TAKEN if kept == value and not value.isdigit() else _line(kept, False)
    line = _line(f"{name.strip('-')}={redact(value)}", False)
    return name, line.partition("=")[2] if "=" in line else _line(redact(value), False)


def _is_known(field: str, name: str) -> bool:
    if field == "flags":
        return tokens.is_flag(name)
    return bool(_KEY.fullmatch(name)) and vocabulary.is_plain(name)
