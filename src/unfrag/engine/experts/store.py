"""The routes of one rank: rows of expert ids and weights in fixed slots, in memory, and on rank 0 perhaps in a file."""

from __future__ import annotations

import logging
import mmap
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from unfrag.engine.experts.file import RouteFile

logger = logging.getLogger("vllm.unfrag")

WEIGHT_BYTES = 4
# Of the index in the engine core, and of what the file needs to know: hash, slot, and their places in dictionaries.
INDEX_BYTES = 512


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

    @property
    def block_bytes(self) -> int:
        return self.block_tokens * self.token_bytes

    def slots(self, limit_bytes: int) -> int:
        """How many blocks fit, what the index needs for each included."""
        return limit_bytes // (self.block_bytes + INDEX_BYTES)


class Store:
    """``ids``: ``(slots x block_tokens, layers x top_k)`` unsigned, ``weights``: the same as float32.

    Pages are touched as slots fill, so an empty store takes no memory.
    """

    def __init__(self, shape: Shape, slots: int) -> None:
        self.shape, self.slots = shape, slots
        rows, columns = slots * shape.block_tokens, shape.layers * shape.top_k
        buffer: Any = mmap.mmap(-1, slots * shape.block_bytes)
        self.weights: NDArray[Any] = np.ndarray((rows, columns), np.float32, buffer)
        self.ids: NDArray[Any] = np.ndarray((rows, columns), f"u{shape.id_bytes}", buffer, self.weights.nbytes)
        self._file: RouteFile | None = None
        self._kept: dict[int, bytes] = {}

    def rows(self, slot: int) -> slice:
        """Where a slot's tokens lie."""
        return slice(slot * self.shape.block_tokens, (slot + 1) * self.shape.block_tokens)

    def load(self, file: RouteFile) -> tuple[list[tuple[int, bytes]], int]:
        """The file's whole blocks, as (slot, hash), and how many in it are not whole."""
        whole, damaged = [], 0
        for slot, key, content in file.blocks():
            if key is None:
                damaged += 1
                continue
            weights = content[: self.weights[self.rows(slot)].nbytes]
            self.weights[self.rows(slot)] = np.frombuffer(weights, np.float32).reshape(-1, self.weights.shape[1])
            ids = np.frombuffer(content[len(weights) :], self.ids.dtype)
            self.ids[self.rows(slot)] = ids.reshape(-1, self.ids.shape[1])
            whole.append((slot, key))
        return whole, damaged

    def keep_in(self, file: RouteFile, kept: Iterable[tuple[int, bytes]]) -> None:
        """What is published from now on goes into the file as well; ``kept`` is what it holds already."""
        self._file, self._kept = file, dict(kept)

    def publish(self, slot: int, key: bytes) -> None:
        """The slot's rows are those of this block from now on. Only a store with a file keeps that."""
        if self._file is None:
            return
        content = self.weights[self.rows(slot)].tobytes() + self.ids[self.rows(slot)].tobytes()
        try:
            self._file.write(slot, key, content)
            self._kept[slot] = key
        except OSError as fault:
            self._lose(fault)

    def renew(self, slots: NDArray[Any]) -> None:
        """These slots are being written: until they are published, what the file says of them counts as nothing."""
        if self._file is None:
            return
        try:
            for slot in {int(slot) for slot in slots} & self._kept.keys():
                self._file.void(slot)
                del self._kept[slot]
        except OSError as fault:
            self._lose(fault)

    def key_of(self, slot: int) -> bytes | None:
        """The block that the file has of this slot."""
        return self._kept.get(slot)

    def forget(self) -> None:
        """Nothing in the file counts any more, and it is left alone."""
        if self._file is not None:
            try:
                for slot in self._kept:
                    self._file.void(slot)
            except OSError as fault:
                self._lose(fault)
        self.close()

    def close(self) -> None:
        """Let another server have the file."""
        if self._file is not None:
            self._file.close()
            self._file, self._kept = None, {}

    def _lose(self, fault: OSError) -> None:
        logger.warning("unfrag: expert routes are kept in memory only from now on: %s", fault.strerror or fault)
        self.close()
