"""The bytes of each card, in lines that add up to the card."""

from __future__ import annotations

import msgspec

from unfrag.facts import Pool, Rank, Snapshot, Unknown


class Line(msgspec.Struct, frozen=True):
    """One use of memory. ``source`` is measured, computed (from measured numbers) or inferred (what remains)."""

    what: str
    bytes: int
    source: str


class Card(msgspec.Struct, frozen=True):
    """``sum(line.bytes) == total_bytes``, always; what is not explained has a line of its own."""

    name: str
    total_bytes: int
    total_is: str
    lines: tuple[Line, ...]


def build(snapshot: Snapshot) -> tuple[Card, ...] | Unknown:
    """One card per rank that the plugin reports, else one per GPU that NVML or nvidia-smi reports."""
    pool = snapshot.pool
    if isinstance(pool, Pool) and pool.ranks:
        cards = [_rank_card(pool, rank) for rank in pool.ranks]
        return tuple(card for card in cards if card) or Unknown("no rank reports its memory")
    if isinstance(snapshot.gpus, Unknown):
        return Unknown(f"{pool.why if isinstance(pool, Unknown) else 'no rank reported'}; {snapshot.gpus.why}")
    cards = [_gpu_card(snapshot, i) for i in range(len(snapshot.gpus.gpus))]
    return tuple(card for card in cards if card) or Unknown(f"{snapshot.gpus.source} lists no card with its memory")


def _rank_card(pool: Pool, rank: Rank) -> Card | None:
    """On a GPU the card; on a CPU rank the process, whose pool counts in full even where no page was touched yet."""
    if rank.total_bytes is not None:
        total, total_is = rank.total_bytes, "the card, as the driver reports it"
    elif rank.resident_bytes is not None:
        total, total_is = rank.resident_bytes, "this rank's process in host memory"
    else:
        return None
    lines = []
    if rank.weights_bytes is not None:
        lines.append(Line("weights", rank.weights_bytes, "measured"))
    if pool.pinned_blocks is not None and pool.cached_blocks is not None and pool.block_size_bytes is not None:
        empty = pool.free_blocks - pool.cached_blocks
        for what, blocks in (("pinned", pool.pinned_blocks), ("cached", pool.cached_blocks), ("empty", empty)):
            lines.append(Line(f"KV {what}", blocks * pool.block_size_bytes, "computed"))
        lines.append(Line("KV null block", pool.block_size_bytes, "computed"))
    known = sum(line.bytes for line in lines)
    if rank.allocated_bytes is not None and rank.reserved_bytes is not None and rank.non_torch_bytes is not None:
        lines.append(Line("activations and other tensors", rank.allocated_bytes - known, "inferred"))
        lines.append(Line("allocator reserve", rank.reserved_bytes - rank.allocated_bytes, "measured"))
        lines.append(Line("outside PyTorch", rank.non_torch_bytes, "measured"))
        lines.append(Line("free", total - rank.reserved_bytes - rank.non_torch_bytes, "measured"))
    else:
        lines.append(Line("rest (code, activations, heap)", total - known, "inferred"))
    return Card(f"rank {rank.rank} ({rank.device})", total, total_is, tuple(lines))


def _gpu_card(snapshot: Snapshot, position: int) -> Card | None:
    assert not isinstance(snapshot.gpus, Unknown)
    gpu = snapshot.gpus.gpus[position]
    if gpu.total_bytes is None or gpu.used_bytes is None:
        return None
    own = [p for p in snapshot.gpus.processes if p.gpu_uuid is not None and p.gpu_uuid == gpu.uuid]
    lines = [
        Line(f"process {p.pid} {p.name or ''}".rstrip(), p.used_bytes, "measured")
        for p in own
        if p.used_bytes is not None
    ]
    lines.append(Line("unexplained", gpu.used_bytes - sum(line.bytes for line in lines), "inferred"))
    lines.append(Line("free", gpu.total_bytes - gpu.used_bytes, "measured"))
    name = f"GPU {gpu.index}" + (f" ({gpu.name})" if gpu.name else "")
    return Card(name, gpu.total_bytes, f"the card, as {snapshot.gpus.source} reports it", tuple(lines))
