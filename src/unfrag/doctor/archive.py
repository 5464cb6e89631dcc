"""One file out of a gzipped tar that may be hostile: within a budget of bytes and members, whatever it says."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MOST_MEMBERS = 16
_MOST_BYTES = 96 << 20  # inflated: facts, a diagnosis, and a log's beginning and end
_LONGEST_HEADER = 64 << 10  # bytes of a pax header or a long name: passed over, since no member needs one
_STEP = 1 << 20
BROKEN = (tarfile.TarError, OSError, EOFError, ValueError, zlib.error)


def member(path: Path, name: str, largest: int) -> bytes | None:
    """The content of a regular member; None where there is none of that name.

    Raises:
        one of ``BROKEN``: it is no such archive, or it holds more than a capture does.
    """
    with gzip.open(path, "rb") as inflated:
        left = _MOST_BYTES
        for _ in range(_MOST_MEMBERS):
            block = inflated.read(tarfile.BLOCKSIZE)
            if not block:
                raise EOFError("it ends before its end mark")
            if not block.strip(b"\0"):
                return None
            header = tarfile.TarInfo.frombuf(block, "utf-8", "replace")
            left -= header.size
            if header.size < 0 or left < 0:
                raise ValueError(f"it holds more than {_MOST_BYTES >> 20} MiB")
            if header.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
                if header.size > _LONGEST_HEADER:
                    raise ValueError("a header of it is longer than any name")
            elif header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
                raise ValueError("a member of it is no regular file")
            elif header.name == name:
                if header.size > largest:
                    raise ValueError(f"{name} in it is larger than {largest >> 20} MiB")
                return _exactly(inflated, header.size)
            _pass_over(inflated, -(-header.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE)
    raise ValueError(f"it has more than {_MOST_MEMBERS} members")


def _exactly(stream: gzip.GzipFile, size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError("it ends in the middle")
    return content


def _pass_over(stream: gzip.GzipFile, size: int) -> None:
    while size > 0:
        size -= len(_exactly(stream, min(size, _STEP)))
