"""The facts of a diagnosis, field by field: numbers as they are, words only when they are known."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import msgspec

from unfrag.allowed import tokens, vocabulary
from unfrag.allowed.line import allow, shape
from unfrag.allowed.log import allow_log
from unfrag.facts import Snapshot
from unfrag.redaction import TAKEN, redact
from unfrag.redaction.names import is_of_users, is_secret

_UUID = re.compile(r"(?:GPU|MIG)-[0-9A-Za-z/-]{1,60}")
_OF_PROGRAMS = (
    "kind",
    "type",
    "what",
    "source",
    "why",
    "note",
    "rank",
    "frames",
    "uuid",
    "gpu_uuid",
    "name",
    "device",
    "nodes",
)
_HERE = ("127.0.0.1", "localhost", "::1", "0.0.0.0")
_COUNTS = re.compile(r"[\d., ]{1,200}")
_KEY = re.compile(r"[A-Za-z_][\w.-]{0,80}")


def allow_facts(snapshot: Snapshot) -> Snapshot:
    """The same facts without what is not known to be harmless."""
    return msgspec.convert(_any("", msgspec.to_builtins(snapshot)), Snapshot)


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
        return {name: said if _COUNTS.fullmatch(said) else _text(name, said) for name, said in value.items()}
    return {name: _any(name, inner) for name, inner in value.items()}


def _text(field: str, value: str) -> str:
    if field in ("kind", "type"):
        return value
    if field in ("uuid", "gpu_uuid"):
        return value if _UUID.fullmatch(value) else shape(value)
    if field == "last_line":
        return allow_log(value).text
    if field == "target":
        return _target(value)
    return "\n".join(_line(line, field in _OF_PROGRAMS) for line in redact(value).split("\n"))


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
    return f"{parts.scheme}://{host if host in _HERE else 'another-machine'}{port}"


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
