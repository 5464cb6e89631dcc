"""What the server's memory does while a load runs: ``/health`` and ``/metrics``, a few times a second."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

import msgspec

from unfrag.facts.memory_stats import Pool
from unfrag.facts.snapshot import Metrics
from unfrag.server.client import Server

if TYPE_CHECKING:
    from types import TracebackType

_MIB = 1024 * 1024


class Sample(msgspec.Struct, frozen=True):
    """One look. ``at`` is Unix time, so that it lines up with the client's times; None: not reported."""

    at: float
    usage: float | None
    pinned_blocks: int | None
    cached_blocks: int | None
    free_runs: int | None
    largest_free_block: int | None
    tokens_per_mib: float | None
    running: float | None
    waiting: float | None


class Sampler:
    """Samples in a thread of its own between ``__enter__`` and ``__exit__``.

    Args:
        url: of the server.
        every_seconds: how often; a slow answer delays the next look, never the load.
    """

    def __init__(self, url: str, every_seconds: float = 0.5) -> None:
        self.samples: list[Sample] = []
        self._url = url
        self._every = every_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with Server(self._url) as server:
            while not self._stop.wait(self._every):
                pool, metrics = server.pool(), server.metrics()
                self.samples.append(_sample(pool, metrics))


def _sample(pool: object, metrics: object) -> Sample:
    known = pool if isinstance(pool, Pool) else None
    seen = metrics if isinstance(metrics, Metrics) else Metrics()
    return Sample(
        at=time.time(),
        usage=known.gpu_cache_usage if known else seen.kv_cache_usage,
        pinned_blocks=known.pinned_blocks if known else None,
        cached_blocks=known.cached_blocks if known else None,
        free_runs=known.free_runs if known else None,
        largest_free_block=known.largest_free_block if known else None,
        tokens_per_mib=tokens_per_mib(known) if known else None,
        running=seen.running,
        waiting=seen.waiting,
    )


def tokens_per_mib(pool: Pool) -> float | None:
    """Tokens held for running requests, per MiB of the whole pool: what quantisation and small blocks raise."""
    if pool.pinned_blocks is None or not pool.total_blocks or not pool.block_size_tokens or not pool.block_size_bytes:
        return None
    held = pool.pinned_blocks * pool.block_size_tokens - (pool.tail_waste_tokens or 0)
    return held / (pool.total_blocks * pool.block_size_bytes / _MIB)
