"""What is known of one deployment at one moment. Probes fill it, the ledger and the rules only read it.

Sizes are bytes. A fact that could not be had is :class:`Unknown` with the reason, and never a zero.
"""

from __future__ import annotations

import msgspec

from unfrag.facts.log import Log
from unfrag.facts.memory_stats import Pool
from unfrag.facts.values import Bytes, Number, Unknown


class Metrics(msgspec.Struct, frozen=True, tag=True):
    """What unfrag reads in vLLM's ``/metrics``, summed over engines; None when the server does not export it."""

    running: Number | None = None
    waiting: Number | None = None
    kv_cache_usage: Number | None = None
    preemptions: Number | None = None
    iterations: Number | None = None
    """Steps that the engine has finished."""
    requests: Number | None = None
    prefix_queries: Number | None = None
    prefix_hits: Number | None = None
    deferred: Number | None = None
    resident_bytes: Number | None = None
    evicted_tokens: Number | None = None
    hit_rate: Number | None = None
    idle_before_evict: Number | None = None
    """Mean seconds without use after which a block lost its content."""
    reuse_gap: Number | None = None
    """Mean seconds between two uses of a block."""
    expert_balance: Number | None = None
    """The busiest expert over the average one, in the layer where that is highest; from the expert-route cache."""
    request_tokens: Number | None = None
    """Mean tokens of a request, prompt and answer."""
    cache_config: dict[str, str] = {}


class Gpu(msgspec.Struct, frozen=True):
    index: int
    uuid: str | None
    name: str | None
    total_bytes: Bytes | None
    used_bytes: Bytes | None
    mig: bool | None = None
    ecc_errors: int | None = None
    """Uncorrected, since the driver was loaded."""
    history: tuple[Bytes, ...] = ()
    """Bytes in use at earlier looks, oldest first, when the text holds several."""


class GpuProcess(msgspec.Struct, frozen=True):
    """``pid`` is 0 where the text does not give one; ``alive`` is None where this machine cannot say."""

    pid: int
    used_bytes: Bytes | None
    gpu_uuid: str | None
    name: str | None = None
    gpu_index: int | None = None
    alive: bool | None = None


class Gpus(msgspec.Struct, frozen=True, tag=True):
    """Cards and the processes on them. ``gpus`` is empty when the source lists processes alone."""

    gpus: tuple[Gpu, ...]
    processes: tuple[GpuProcess, ...]
    source: str
    lists_processes: bool = True
    """False for a query of the cards alone, which says nothing about who is on them."""

    def on(self, gpu: Gpu) -> list[GpuProcess]:
        """The processes on one card."""
        return [p for p in self.processes if (p.gpu_uuid and p.gpu_uuid == gpu.uuid) or p.gpu_index == gpu.index]


class Series(msgspec.Struct, frozen=True):
    """Something that was measured again and again: ``what`` is host, gpu or shm; bytes, oldest first."""

    what: str
    values: tuple[Number, ...]
    text: str
    hours: Number | None = None


class Launch(msgspec.Struct, frozen=True, tag=True):
    """The server's command line: its flags (None: bare flag), its environment, and where it was read."""

    command: str
    flags: dict[str, str | None]
    source: str
    env: dict[str, str] = {}


class Host(msgspec.Struct, frozen=True, tag=True):
    """The machine or container that the server runs in."""

    ram_bytes: Bytes | None = None
    available_bytes: Bytes | None = None
    limit_bytes: Bytes | None = None
    """Of the memory cgroup; None without one."""
    used_bytes: Bytes | None = None
    shm_bytes: Bytes | None = None
    shm_free_bytes: Bytes | None = None
    oom_kills: int | None = None


class Isolation(msgspec.Struct, frozen=True, tag=True):
    """Which cards this server may see and which it was meant to."""

    expected: int | None = None
    visible: int | None = None
    nodes: tuple[str, ...] = ()
    cgroup: str = ""
    asked: str | None = None
    """NVIDIA_VISIBLE_DEVICES or CUDA_VISIBLE_DEVICES."""


class Allocator(msgspec.Struct, frozen=True):
    """A PyTorch allocator snapshot of one device, added up."""

    device: int
    reserved_bytes: Bytes
    allocated_bytes: Bytes
    free_in_segments_bytes: Bytes
    largest_free_bytes: Bytes
    inactive_split_bytes: Bytes
    segments: int
    expandable: bool = False


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
    cards: str | Unknown
    """In words, as a person gave them: "4x L40S 48GB, 768 GB RAM"."""
    notes: Log | Unknown
    """Pasted text of no known form, read as a log is."""
    series: tuple[Series, ...] | Unknown
    host: Host | Unknown
    isolation: Isolation | Unknown
    allocator: tuple[Allocator, ...] | Unknown
    silent: bool = False
    """A server was asked, and told neither its pool nor its metrics."""


_PASTED_ONLY = ("cards", "notes", "series")


def unknowns(snapshot: Snapshot) -> list[tuple[str, str]]:
    """(fact, why it is missing), in the order of the fields; not what only pasted evidence can have."""
    values = [(name, getattr(snapshot, name)) for name in snapshot.__struct_fields__ if name not in _PASTED_ONLY]
    return [(name, value.why) for name, value in values if isinstance(value, Unknown)]
