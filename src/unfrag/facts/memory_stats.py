"""``memory_stats``: what ``/health`` of a server with the plugin says of its memory. The one list of its keys."""

from __future__ import annotations

import msgspec

from unfrag.facts.values import Bytes, Count, Seconds, Share


class Rank(msgspec.Struct, frozen=True):
    """Memory of one worker, from the plugin; None where its device cannot say."""

    rank: int
    device: str
    total_bytes: Bytes | None = None
    allocated_bytes: Bytes | None = None
    reserved_bytes: Bytes | None = None
    inactive_split_bytes: Bytes | None = None
    largest_free_segment_bytes: Bytes | None = None
    non_torch_bytes: Bytes | None = None
    weights_bytes: Bytes | None = None
    resident_bytes: Bytes | None = None
    budget_bytes: Bytes | None = None
    unknown: str | None = None


class Pool(msgspec.Struct, frozen=True, tag=True):
    """``memory_stats`` of ``/health``. Keys of the article come first; a server that has only those is read too.

    Attributes:
        pool: ``stock`` or ``contiguous``.
        engines: under data parallelism each engine's own; ``engine`` is its number there.
    """

    gpu_cache_usage: Share
    free_blocks: Count
    largest_free_block: Count
    block_size_bytes: Count | None = None
    block_size_tokens: Count | None = None
    total_blocks: Count | None = None
    pinned_blocks: Count | None = None
    cached_blocks: Count | None = None
    fragmentation_ratio: Share | None = None
    free_runs: Count | None = None
    tail_waste_tokens: Count | None = None
    steps: Count | None = None
    age_seconds: Seconds | None = None
    kv_connector: str | None = None
    pool: str | None = None
    ranks: tuple[Rank, ...] = ()
    engines: tuple[Pool, ...] = ()
    engine: Count | None = None

    @property
    def capacity_tokens(self) -> int | None:
        """Tokens that fit on one rank; None when the server does not say."""
        return self.total_blocks * self.block_size_tokens if self.total_blocks and self.block_size_tokens else None

    @property
    def capacity_bytes(self) -> int | None:
        """Bytes of the pool on one rank, the null block included; None when the server does not say."""
        return (self.total_blocks + 1) * self.block_size_bytes if self.total_blocks and self.block_size_bytes else None
