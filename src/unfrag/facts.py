"""What is known of one deployment at one moment. Probes fill it, the ledger and the rules only read it.

Sizes are bytes. A fact that could not be had is :class:`Unknown` with the reason, and never a zero.
"""

from __future__ import annotations

from typing import Annotated

import msgspec


class Unknown(msgspec.Struct, frozen=True):
    """A missing fact. False, prints as "unknown"."""

    why: str

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return "unknown"


Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Rank(msgspec.Struct, frozen=True):
    """Memory of one worker, from the plugin; None where its device cannot say."""

    rank: int
    device: str
    total_bytes: int | None = None
    allocated_bytes: int | None = None
    reserved_bytes: int | None = None
    inactive_split_bytes: int | None = None
    largest_free_segment_bytes: int | None = None
    non_torch_bytes: int | None = None
    weights_bytes: int | None = None
    resident_bytes: int | None = None


class Pool(msgspec.Struct, frozen=True):
    """``memory_stats`` of ``/health``. Keys of the article come first; a server that has only those is read too."""

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
    ranks: tuple[Rank, ...] = ()

    @property
    def capacity_tokens(self) -> int | None:
        """Tokens that fit on one rank; None when the server does not say."""
        return self.total_blocks * self.block_size_tokens if self.total_blocks and self.block_size_tokens else None

    @property
    def capacity_bytes(self) -> int | None:
        """Bytes of the pool on one rank, the null block included; None when the server does not say."""
        return (self.total_blocks + 1) * self.block_size_bytes if self.total_blocks and self.block_size_bytes else None


class Metrics(msgspec.Struct, frozen=True):
    """What unfrag reads in vLLM's ``/metrics``, summed over engines; None when the server does not export it."""

    running: float | None = None
    waiting: float | None = None
    kv_cache_usage: float | None = None
    preemptions: float | None = None
    requests: float | None = None
    prefix_queries: float | None = None
    prefix_hits: float | None = None
    cache_config: dict[str, str] = {}


class Gpu(msgspec.Struct, frozen=True):
    index: int
    uuid: str | None
    name: str | None
    total_bytes: int | None
    used_bytes: int | None


class GpuProcess(msgspec.Struct, frozen=True):
    pid: int
    used_bytes: int | None
    gpu_uuid: str | None
    name: str | None = None


class Gpus(msgspec.Struct, frozen=True):
    """Cards and the processes on them. ``gpus`` is empty when the source lists processes alone."""

    gpus: tuple[Gpu, ...]
    processes: tuple[GpuProcess, ...]
    source: str


class Log(msgspec.Struct, frozen=True):
    """What a server's log says about memory. ``failures`` are failed allocations, oldest first."""

    lines: int
    failures: tuple[AllocationFailure, ...] = ()
    load_timed_out: bool = False
    last_line: str = ""


class AllocationFailure(msgspec.Struct, frozen=True):
    """One failed allocation, in the numbers that its message prints."""

    line: str
    asked_bytes: int | None = None
    free_bytes: int | None = None
    reserved_unallocated_bytes: int | None = None


class Launch(msgspec.Struct, frozen=True):
    """The server's command line: its flags (None: bare flag), and where it was read."""

    command: str
    flags: dict[str, str | None]
    source: str


class Snapshot(msgspec.Struct, frozen=True):
    """One deployment at one moment."""

    target: str
    engine: str | Unknown
    engine_version: str | Unknown
    model: str | Unknown
    max_model_len: int | Unknown
    pool: Pool | Unknown
    metrics: Metrics | Unknown
    gpus: Gpus | Unknown
    log: Log | Unknown
    launch: Launch | Unknown


def unknowns(snapshot: Snapshot) -> list[tuple[str, str]]:
    """(fact, why it is missing), in the order of the fields."""
    values = [(name, getattr(snapshot, name)) for name in snapshot.__struct_fields__]
    return [(name, value.why) for name, value in values if isinstance(value, Unknown)]


class Finding(msgspec.Struct, frozen=True):
    """One judgement of one rule. ``severity`` is critical, warning or info; ``confidence`` is 0 to 1."""

    id: str
    cause: str
    severity: str
    confidence: float
    summary: str
    evidence: tuple[str, ...]
    fixes: tuple[str, ...]
