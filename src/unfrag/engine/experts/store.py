"""The routes of one rank: rows of expert ids and weights in fixed slots, in memory or in a file that outlives it.

In the file each slot has the hash of its block and a digest over model, hash and rows, so that a block whose bytes were
changed, torn by a crash, or computed by another model is not served. Rank 0 writes the file; the others read it once.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import mmap
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_MAGIC = b"unfrag expert routes 1\n"
_HEADER_BYTES = 4096
_KEY_BYTES = 33  # its length, and a hash of at most 32 bytes
_DIGEST_BYTES = 16
WEIGHT_BYTES = 4
# Of the index in the engine core: hash, slot, and their place in the ordered dictionary.
INDEX_BYTES = 400


class UnusableFile(Exception):
    """Why a file of routes is left alone."""


class Shape(NamedTuple):
    """``layers`` MoE layers of a rank, ``top_k`` experts a token, ids of ``id_bytes``, blocks of ``block_tokens``."""

    layers: int
    top_k: int
    id_bytes: int
    block_tokens: int

    @property
    def token_bytes(self) -> int:
        """Of one token: ids, and weights as float32."""
        return self.layers * self.top_k * (self.id_bytes + WEIGHT_BYTES)

    def slots(self, limit_bytes: int) -> int:
        """How many blocks fit, what the index and the file need for each included."""
        each = self.block_tokens * self.token_bytes + _KEY_BYTES + _DIGEST_BYTES + INDEX_BYTES
        return max(0, (limit_bytes - _HEADER_BYTES) // each)


class Store:
    """``ids``: ``(slots x block_tokens, layers x top_k)`` unsigned, ``weights``: the same as float32.

    Pages are touched as slots fill, so an empty store takes no memory.
    """

    def __init__(self, shape: Shape, slots: int, file: Any = None, buffer: Any = None, namespace: bytes = b"") -> None:
        self.shape, self.slots = shape, slots
        self._file, self._namespace = file, namespace
        self._buffer = mmap.mmap(-1, _bytes(shape, slots)) if buffer is None else buffer
        rows, columns = slots * shape.block_tokens, shape.layers * shape.top_k
        kinds: list[tuple[tuple[int, int], Any]] = [
            ((slots, _KEY_BYTES), np.dtype(np.uint8)),
            ((slots, _DIGEST_BYTES), np.dtype(np.uint8)),
            ((rows, columns), np.dtype(np.float32)),
            ((rows, columns), np.dtype(f"u{shape.id_bytes}")),
        ]
        offset, views = _HEADER_BYTES, []
        for size, kind in kinds:
            views.append(np.ndarray(size, kind, self._buffer, offset))
            offset += views[-1].nbytes
        self._keys: NDArray[Any] = views[0]
        self._digests: NDArray[Any] = views[1]
        self.weights: NDArray[Any] = views[2]
        self.ids: NDArray[Any] = views[3]

    def publish(self, slot: int, key: bytes) -> None:
        """The slot's rows are those of this block from now on. Only a store with a file keeps that."""
        if self._file is None:
            return
        self._keys[slot] = np.frombuffer(bytes([len(key)]) + key.ljust(_KEY_BYTES - 1, b"\0"), np.uint8)
        self._digests[slot] = np.frombuffer(self._digest(slot), np.uint8)

    def renew(self, slots: NDArray[Any]) -> None:
        """These slots are being written: until they are published, what the file says of them counts as nothing."""
        if self._file is not None:
            self._digests[slots] = 0

    def forget(self) -> None:
        """Nothing in the file counts any more."""
        if self._file is not None:
            self._digests[:] = 0

    def close(self) -> None:
        """Let another server have the file. This store must not be written any more: its pages are the file's."""
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)  # the mapping holds the file open
            self._file.close()
            self._file = None

    def _digest(self, slot: int) -> bytes:
        rows = slice(slot * self.shape.block_tokens, (slot + 1) * self.shape.block_tokens)
        digest = hashlib.blake2b(self._namespace, digest_size=_DIGEST_BYTES)
        for part in (self._keys[slot], self.weights[rows], self.ids[rows]):
            digest.update(part.tobytes())
        return digest.digest()

    def blocks(self) -> tuple[list[tuple[int, bytes]], int]:
        """What the file holds and is whole, as (slot, hash), and how many blocks in it are not."""
        whole, damaged = [], 0
        for slot in np.flatnonzero(self._digests.any(axis=1)).tolist():
            if self._digests[slot].tobytes() == self._digest(slot):
                key = self._keys[slot].tobytes()
                whole.append((slot, key[1 : 1 + key[0]]))
            else:
                damaged += 1
        return whole, damaged


def from_file(
    path: Path, shape: Shape, slots: int, namespace: bytes, write: bool
) -> tuple[Store, list[tuple[int, bytes]], int]:
    """A store that is the file; without ``write`` one in memory that begins with its content.

    With the blocks that are whole in it, and how many are not.

    Raises:
        UnusableFile: it is of another model, damaged, or in use.
    """
    header = _header(shape, slots, namespace)
    try:
        file = path.open("r+b" if write else "rb")
        if write:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _check(file.read(_HEADER_BYTES), header)
        if os.fstat(file.fileno()).st_size != _bytes(shape, slots):
            raise UnusableFile("it was cut short")
        buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_WRITE if write else mmap.ACCESS_READ)
    except BlockingIOError:
        raise UnusableFile("another server uses it") from None
    except OSError as fault:
        raise UnusableFile(fault.strerror or str(fault)) from None
    stored = Store(shape, slots, file, buffer, namespace)
    whole, damaged = stored.blocks()
    if write:
        return stored, whole, damaged
    own = Store(shape, slots)
    for slot, _ in whole:
        rows = slice(slot * shape.block_tokens, (slot + 1) * shape.block_tokens)
        own.ids[rows], own.weights[rows] = stored.ids[rows], stored.weights[rows]
    file.close()
    return own, whole, damaged


def _bytes(shape: Shape, slots: int) -> int:
    return _HEADER_BYTES + slots * (_KEY_BYTES + _DIGEST_BYTES + shape.block_tokens * shape.token_bytes)


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
