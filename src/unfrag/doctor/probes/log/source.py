"""A log file as chunks of text lines, whatever it is: plain, UTF-16, gzip or zstd, growing, huge, or no file at all.

Memory stays at a few chunks. A line longer than a chunk is cut.
"""

from __future__ import annotations

import codecs
import gzip
import io
import stat
import sys
import time
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from unfrag.facts.values import Unknown

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK = 4 << 20
TIME_LIMIT_SECONDS = 120.0
_STEP = 1 << 16
_INFLATED_AT_MOST = 8 << 30
_SAMPLE = 1 << 16
_NOISE = 0.2
_DAMAGED = (OSError, EOFError, zlib.error, zstd.ZstdError, ValueError)


class Source:
    """One file, opened. ``note`` says afterwards what kept it from being read to its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.note = ""

    def open(self) -> BinaryIO | Unknown:
        """Its bytes, inflated and in UTF-8; Unknown for what is no readable text file."""
        try:
            status = self._path.stat()
            if not stat.S_ISREG(status.st_mode):
                return Unknown(f"{self._path} is no regular file; copy what it gives into one")
            if status.st_size == 0:
                return Unknown(f"{self._path} is empty")
            stream = _inflated(self._path.open("rb"))
            head = stream.read(_SAMPLE)
        except _DAMAGED as fault:
            return Unknown(f"{self._path} cannot be read: {getattr(fault, 'strerror', None) or fault}")
        encoding = _utf16(head)
        stream.seek(0)
        if encoding:
            stream = cast("BinaryIO", io.BufferedReader(_Recoded(stream, encoding)))
            head = head.decode(encoding, "replace").encode()
        why = _not_text(head)
        return Unknown(f"{self._path} {why}") if why else stream

    def chunks(self, stream: BinaryIO) -> Iterator[bytes]:
        """Whole lines, about ``CHUNK`` bytes at a time."""
        deadline = time.monotonic() + TIME_LIMIT_SECONDS
        read = 0
        while chunk := self._lines(stream, read):
            read += len(chunk)
            yield chunk
            if time.monotonic() > deadline or read > _INFLATED_AT_MOST:
                self.note = f"{self._path.name}: stopped after {read:,} bytes; give the last part of it"
                return

    def _lines(self, stream: BinaryIO, read: int) -> bytes:
        """A chunk and the rest of its last line. In small steps where damage may cut it off."""
        block = b""
        try:
            if isinstance(stream, io.BufferedReader):
                block = stream.read(CHUNK)
            else:
                while len(block) < CHUNK and (part := stream.read(_STEP)):
                    block += part
            return block + stream.readline(CHUNK)
        except _DAMAGED as fault:
            self.note = f"{self._path.name} is damaged after {read:,} bytes: {fault}"
            return block


def _inflated(stream: BinaryIO) -> BinaryIO:
    magic = stream.read(4)
    stream.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return cast("BinaryIO", gzip.GzipFile(fileobj=stream))
    if magic == b"\x28\xb5\x2f\xfd":
        return _zstd(stream)
    return stream


def _zstd(stream: BinaryIO) -> BinaryIO:
    return cast("BinaryIO", zstd.ZstdFile(stream))


def _utf16(head: bytes) -> str | None:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    odd, even = head[1:2000:2].count(0), head[0:2000:2].count(0)
    half = max(1, len(head[:2000]) // 2)
    if odd > half * 0.7 and even < half * 0.1:
        return "utf-16-le"
    return "utf-16-be" if even > half * 0.7 and odd < half * 0.1 else None


def _not_text(sample: bytes) -> str | None:
    """Empty, or mostly bytes that no log prints. A truncated character or a little noise is let pass."""
    if not sample.strip(b"\0 \t\r\n"):
        return "is empty"
    text = sample.decode("utf-8", "replace")
    noise = sum(char == "\ufffd" or (char < " " and char not in "\t\r\n\x1b\0\x08") for char in text)
    return "is not text" if noise > len(text) * _NOISE else None


class _Recoded(io.RawIOBase):
    """UTF-16 as UTF-8."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._stream, self._decoder = stream, codecs.getincrementaldecoder(encoding)("replace")
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        while not self._left:
            block = self._stream.read(CHUNK)
            self._left = self._decoder.decode(block, final=not block).encode("utf-8", "replace")
            if not block:
                break
        some = self._left[: len(into)]
        into[: len(some)] = some
        self._left = self._left[len(some) :]
        return len(some)

    def close(self) -> None:
        self._stream.close()
        super().close()
