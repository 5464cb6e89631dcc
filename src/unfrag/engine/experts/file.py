"""Routes in a file, so that a restart starts warm.

Each slot has the hash of its block and a digest over model, hash and rows, so that a block whose bytes were changed,
torn by a crash, or computed by another model is not served. Rank 0 writes the file; the others read it once. It is
written and read, not mapped: a file that somebody cuts short must not end the engine.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from unfrag.engine.experts.store import Shape

_MAGIC = b"unfrag expert routes 2\n"
_HEADER_BYTES = 4096
_KEY_BYTES = 33  # its length, and a hash of at most 32 bytes
_DIGEST_BYTES = 16


class UnusableFile(Exception):
    """Why a file of routes is left alone."""


class RouteFile:
    """Opened, checked, and with ``write`` locked against other servers.

    Raises:
        UnusableFile: it is of another model or size, damaged, or in use.
    """

    def __init__(self, path: Path, shape: Shape, slots: int, namespace: bytes, write: bool) -> None:
        self._namespace, self._slots = namespace, slots
        self._record = _DIGEST_BYTES + _KEY_BYTES + shape.block_bytes
        header = _header(shape, slots, namespace)
        try:
            self._file: Any = path.open("r+b" if write else "rb", buffering=0)
            if write:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _check(os.pread(self._file.fileno(), _HEADER_BYTES, 0), header)
            if os.fstat(self._file.fileno()).st_size != _bytes(shape, slots):
                raise UnusableFile("it was cut short")
        except BlockingIOError:
            raise UnusableFile("another server uses it") from None
        except OSError as fault:
            raise UnusableFile(fault.strerror or str(fault)) from None

    def blocks(self) -> Iterator[tuple[int, bytes | None, bytes]]:
        """(slot, hash, rows) of each block in it; without hash where it is not whole."""
        for slot in range(self._slots):
            record = os.pread(self._file.fileno(), self._record, self._at(slot))
            digest, said, content = record[:_DIGEST_BYTES], record[_DIGEST_BYTES:], record[_DIGEST_BYTES + _KEY_BYTES :]
            if not any(digest):
                continue
            whole = len(record) == self._record and digest == self._digest(said)
            yield slot, said[1 : 1 + said[0]] if whole else None, content

    def write(self, slot: int, key: bytes, content: bytes) -> None:
        """One record at one stroke; torn, its digest does not hold. Raises OSError."""
        said = bytes([len(key)]) + key.ljust(_KEY_BYTES - 1, b"\0") + content
        record = self._digest(said) + said
        if os.pwrite(self._file.fileno(), record, self._at(slot)) != len(record):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def void(self, slot: int) -> None:
        """The slot holds nothing. Raises OSError."""
        os.pwrite(self._file.fileno(), bytes(_DIGEST_BYTES), self._at(slot))

    def close(self) -> None:
        self._file.close()

    def _at(self, slot: int) -> int:
        return _HEADER_BYTES + slot * self._record

    def _digest(self, said: bytes) -> bytes:
        return hashlib.blake2b(self._namespace + said, digest_size=_DIGEST_BYTES).digest()


def make_file(path: Path, shape: Shape, slots: int, namespace: bytes) -> None:
    """An empty one where there is none, whole or not at all: its room is taken before it has its name.

    Raises:
        UnusableFile: it cannot be written, or there is no room for it.
    """
    if path.exists():
        return
    making = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with making.open("xb") as file:
            os.posix_fallocate(file.fileno(), 0, _bytes(shape, slots))
            file.write(_header(shape, slots, namespace))
        making.chmod(0o600)
        making.rename(path)
    except OSError as fault:
        making.unlink(missing_ok=True)
        short = f", {_bytes(shape, slots):,} B" if fault.errno == errno.ENOSPC else ""
        raise UnusableFile(f"{fault.strerror}{short}") from None


def _bytes(shape: Shape, slots: int) -> int:
    return _HEADER_BYTES + slots * (_DIGEST_BYTES + _KEY_BYTES + shape.block_bytes)


def _header(shape: Shape, slots: int, namespace: bytes) -> bytes:
    said = json.dumps({**shape._asdict(), "slots": slots, "model": namespace.hex()}, sort_keys=True)
    return (_MAGIC + said.encode() + b"\n").ljust(_HEADER_BYTES, b" ")


def _check(found: bytes, header: bytes) -> None:
    if found == header:
        return
    if not found.startswith(_MAGIC):
        raise UnusableFile("it is no file of expert routes")
    try:
        theirs = json.loads(found[len(_MAGIC) :])
        ours = json.loads(header[len(_MAGIC) :])
        differs = [key for key in ours if theirs.get(key) != ours[key]]
    except (ValueError, AttributeError):
        raise UnusableFile("its header is damaged") from None
    raise UnusableFile(f"it was written by another model or with another size ({', '.join(differs) or 'header'})")
