"""One file with all evidence of an incident, for a colleague: what a diagnosis reads, and nothing that is secret.

A gzipped tar of the facts, the text of the diagnosis and the log's beginning and end. It is built by allowing: only
what is known to be harmless is in it, everything else as its shape (``unfrag.doctor.allowed``). ``raw`` forbids
instead: the words stay, and known forms of keys and prompts are taken out.
"""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Any

import msgspec

from unfrag.doctor.allowed.facts import allow_facts
from unfrag.doctor.allowed.log import Log, allow_log
from unfrag.doctor.probes.log.source import Source
from unfrag.errors import UsageError
from unfrag.facts.snapshot import Snapshot
from unfrag.facts.values import Unknown
from unfrag.redaction import TAKEN, redact
from unfrag.redaction.names import is_secret

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX = ".unfrag.tar.gz"
NAMES = ("README.txt", "facts.json", "diagnosis.txt", "log.txt")
_LARGEST = 16 << 20
_LOG_HEAD, _LOG_TAIL = 1 << 20, 3 << 20  # bytes: what can be gone through in some seconds, whatever is in it
_README = """\
A capture of `unfrag capture`; read it with `unfrag diagnose --evidence FILE`.
It holds only words that programs are known to print. "[text of 31 characters]" stands where anything else was, such as
a name; "[taken out]" stands where a key or a user's words were recognised; "…" stands for the name of a folder.
"""
_RAW = """\
A capture of `unfrag capture --raw`; read it with `unfrag diagnose --evidence FILE`.
It holds the words of the log. Known forms of keys and prompts were taken out; others may be inside.
"""


def facts_of(snapshot: Snapshot, raw: bool = False) -> Snapshot:
    """The facts that go into a capture. The diagnosis beside them is made of these, and so says no more."""
    return msgspec.convert(_redacted(msgspec.to_builtins(snapshot)), Snapshot) if raw else allow_facts(snapshot)


def files_of(facts: Snapshot, diagnosis: str, log: Path | None, raw: bool = False) -> tuple[dict[str, str], Log | None]:
    """What a capture holds, and how much of the log is known; the latter is None for a raw capture or without a log.

    Args:
        facts: from :func:`facts_of`.
        diagnosis: of these facts, as text.
        log: the server's log, if there is one.
        raw: keep the log's words, less known forms of secrets.
    """
    files = {"README.txt": _RAW if raw else _README}
    files["facts.json"] = msgspec.json.format(msgspec.json.encode(facts).decode())
    files["diagnosis.txt"] = redact(diagnosis)
    text = _log_text(log) if log is not None else ""
    known = allow_log(text) if text and not raw else None
    if text:
        files["log.txt"] = redact(text) if known is None else known.text
    return files, known


def _redacted(value: Any) -> Any:
    """Every text of these facts without known forms of secrets."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        hidden = {key: TAKEN for key, inner in value.items() if isinstance(inner, str) and is_secret(str(key))}
        return {key: _redacted(inner) for key, inner in value.items()} | hidden
    return [_redacted(inner) for inner in value] if isinstance(value, list | tuple) else value


def _log_text(path: Path) -> str:
    """The beginning and the end of a log."""
    source = Source(path)
    stream = source.open()
    if isinstance(stream, Unknown):
        return ""
    head, tail = b"", b""
    with stream:
        for chunk in source.chunks(stream):
            missing = _LOG_HEAD - len(head)
            head += chunk[:missing]
            tail = (tail + chunk[missing:])[-_LOG_TAIL:]
    between = b"\n[unfrag: the middle of the log was left out]\n" if len(tail) == _LOG_TAIL else b""
    return (head + between + tail).decode("utf-8", "replace")


def pack(files: dict[str, str], path: Path) -> None:
    """Write the capture; nothing half-written is left.

    Raises:
        UsageError: it cannot be written there.
    """
    from unfrag.system.files import write_atomically

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            content = text.encode("utf-8", "replace")
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o600
            tar.addfile(entry, io.BytesIO(content))
    try:
        write_atomically(path, buffer.getvalue(), private=True)
    except OSError as fault:
        raise UsageError(f"{path}: {fault.strerror}; choose another place with --out") from fault


def read(path: Path) -> Snapshot:
    """The facts of a capture.

    Raises:
        UsageError: this is no capture, or one of another version.
    """
    from unfrag.doctor import archive
    from unfrag.system.decode import decoded

    try:
        facts = archive.member(path, "facts.json", _LARGEST)
    except archive.BROKEN as fault:
        raise UsageError(f"{path} is no capture of `unfrag capture`: {fault or type(fault).__name__}") from fault
    if facts is None:
        raise UsageError(f"{path} holds no facts.json; make one with `unfrag capture`")
    return decoded(facts, f"{path} is no capture of `unfrag capture`: facts.json", Snapshot)
