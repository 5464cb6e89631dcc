"""One file with all evidence of an incident, for a colleague: what a diagnosis reads, and nothing that is secret.

A gzipped tar of the facts, the text of the diagnosis and the log's beginning and end. What people asked, tokens and
keys are taken out of everything.
"""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import msgspec

from unfrag.errors import UsageError
from unfrag.facts import Snapshot, Unknown
from unfrag.probes.log.source import Source
from unfrag.redaction import clean, redact

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX = ".unfrag.tar.gz"
NAMES = ("facts.json", "diagnosis.txt", "log.txt")
_LARGEST = 16 << 20
_LOG_HEAD, _LOG_TAIL = 4 << 20, 12 << 20


def files_of(snapshot: Snapshot, diagnosis: str, log: Path | None) -> dict[str, str]:
    """What a capture holds: the facts that a diagnosis is made of, its text, and the log's beginning and end."""
    files = {"facts.json": msgspec.json.format(msgspec.json.encode(clean(msgspec.to_builtins(snapshot))).decode())}
    files["diagnosis.txt"] = redact(diagnosis)
    if log is not None and (text := _log_text(log)):
        files["log.txt"] = text
    return files


def _log_text(path: Path) -> str:
    """The beginning and the end of a log, redacted."""
    source = Source(path)
    stream = source.open()
    if isinstance(stream, Unknown):
        return ""
    head, tail = b"", b""
    with stream:
        for chunk in source.chunks(stream):
            if len(head) < _LOG_HEAD:
                head += chunk
            else:
                tail = (tail + chunk)[-_LOG_TAIL:]
    between = b"\n[unfrag: the middle of the log was left out]\n" if len(tail) >= _LOG_TAIL else b""
    return redact((head + between + tail).decode("utf-8", "replace"))


def pack(files: dict[str, str], path: Path) -> None:
    """Write the capture; nothing half-written is left.

    Raises:
        UsageError: it cannot be written there.
    """
    from unfrag.files import write_atomically

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            content = text.encode("utf-8", "replace")
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o600
            tar.addfile(entry, io.BytesIO(content))
    try:
        write_atomically(path, buffer.getvalue())
        path.chmod(0o600)
    except OSError as fault:
        raise UsageError(f"{path}: {fault.strerror}; choose another place with --out") from fault


def read(path: Path) -> Snapshot:
    """The facts of a capture.

    Raises:
        UsageError: this is no capture, or one of another version.
    """
    from unfrag import archive
    from unfrag.decode import decoded

    try:
        facts = archive.member(path, "facts.json", _LARGEST)
    except archive.BROKEN as fault:
        raise UsageError(f"{path} is no capture of `unfrag capture`: {fault or type(fault).__name__}") from fault
    if facts is None:
        raise UsageError(f"{path} holds no facts.json; make one with `unfrag capture`")
    return decoded(facts, f"{path} is no capture of `unfrag capture`: facts.json", Snapshot)
