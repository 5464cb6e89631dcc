"""The bytes of each card, in lines that add up to the card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from unfrag.doctor.weigh import evidence, oom
from unfrag.facts.memory_stats import Pool, Rank
from unfrag.facts.values import Unknown
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Gpu, Snapshot

_ROUNDING = 64 << 20  # the message prints GiB with two decimals


class Line(msgspec.Struct, frozen=True):
    """One use of memory. ``source``: measured, logged, computed (from those), or inferred (what remains)."""

    what: str
    bytes: int
    source: Literal["measured", "logged", "computed", "inferred"]


class Card(msgspec.Struct, frozen=True):
    """``sum(line.bytes) == total_bytes``, always; what is not explained has a line of its own."""

    name: str
    total_bytes: int
    total_is: str
    lines: tuple[Line, ...]


def build(snapshot: Snapshot) -> tuple[Card, ...] | Unknown:
    """From the best source there is: the plugin's ranks, a failed allocation's message, the cards, the log's start."""
    pool = snapshot.pool
    if isinstance(pool, Pool) and pool.ranks:
        cards = [_rank_card(pool, rank) for rank in pool.ranks]
        return tuple(card for card in cards if card) or Unknown("no rank reports its memory")
    view = oom.of(snapshot)
    if view is not None and (card := _oom_card(snapshot, view)) is not None:
        return (card,)
    if not isinstance(snapshot.gpus, Unknown):
        cards = [_gpu_card(snapshot, gpu) for gpu in snapshot.gpus.gpus]
        if found := tuple(card for card in cards if card):
            return found
    if (card := _start_card(snapshot)) is not None:
        return (card,)
    return Unknown(
        f"{pool.why if isinstance(pool, Unknown) else 'no rank reported'}; "
        f"{snapshot.gpus.why if isinstance(snapshot.gpus, Unknown) else 'no card with its memory is listed'}"
    )


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


def _oom_card(snapshot: Snapshot, view: oom.View) -> Card | None:
    """The card at the moment of a failed allocation, in the numbers that its message prints."""
    if None in (view.total, view.free, view.mine, view.allocated):
        return None
    total, free, mine, allocated = view.total or 0, view.free or 0, view.mine or 0, view.allocated or 0
    unused = view.unallocated or 0
    lines = _parts(snapshot, allocated)
    lines.append(Line("allocator reserve", unused, "logged"))
    lines.append(Line("outside PyTorch", mine - allocated - unused, "computed" if view.oom.mine else "inferred"))
    others = total - free - mine
    lines.append(Line("other processes" if others > _ROUNDING else "rounding of the message", others, "computed"))
    lines.append(Line("free", free, "logged"))
    which = "" if view.oom.gpu is None else f" {view.oom.gpu}"
    return Card(
        f"GPU{which} when {size(view.asked)} could not be had", total, "the card, as PyTorch printed it", tuple(lines)
    )


def _parts(snapshot: Snapshot, allocated: int) -> list[Line]:
    """What a process's tensors are, as far as its log says; the rest is inferred."""
    said = [
        ("weights", "weights", ("model_loaded", "profiled")),
        ("KV cache", "kv", ("kv_available", "profiled")),
        ("CUDA graphs", "graphs", ("graphs_actual", "graphs_took")),
    ]
    lines: list[Line] = []
    for what, key, kinds in said:
        event = evidence.fact(snapshot, *kinds)
        value = int(event.numbers.get(key, 0)) if event else 0
        if 0 < value <= allocated - sum(line.bytes for line in lines):
            lines.append(Line(what, value, "logged"))
    rest = allocated - sum(line.bytes for line in lines)
    lines.append(
        Line("activations and other tensors" if lines else "PyTorch's tensors", rest, "inferred" if lines else "logged")
    )
    return lines


def _start_card(snapshot: Snapshot) -> Card | None:
    """What the server printed of its start, on a card whose size is known."""
    total = evidence.card_bytes(snapshot)
    if total is None:
        return None
    facts = [
        ("weights", "weights", ("model_loaded", "profiled")),
        ("KV cache", "kv", ("kv_available", "profiled")),
        ("activation peak", "activation", ("profiled",)),
        ("CUDA graphs", "graphs", ("graphs_actual", "graphs_took", "profiled")),
        ("outside PyTorch", "non_torch", ("profiled",)),
    ]
    lines: list[Line] = []
    for what, key, kinds in facts:
        event = evidence.fact(snapshot, *kinds)
        value = int(event.numbers.get(key, 0)) if event else 0
        if 0 < value <= total - sum(line.bytes for line in lines):
            lines.append(Line(what, value, "logged"))
    if not lines:
        return None
    lines.append(Line("unexplained or free", int(total) - sum(line.bytes for line in lines), "inferred"))
    return Card("each card", int(total), "the card, as it was told", tuple(lines))


def _gpu_card(snapshot: Snapshot, gpu: Gpu) -> Card | None:
    if isinstance(snapshot.gpus, Unknown) or gpu.total_bytes is None or gpu.used_bytes is None:
        return None
    on = sorted(snapshot.gpus.on(gpu), key=lambda p: p.used_bytes or 0, reverse=True)
    lines = [
        Line(f"process {p.pid or '?'} {p.name or ''}".rstrip(), p.used_bytes, "measured")
        for p in on
        if p.used_bytes is not None
    ]
    lines.append(Line("unexplained", gpu.used_bytes - sum(line.bytes for line in lines), "inferred"))
    lines.append(Line("free", gpu.total_bytes - gpu.used_bytes, "measured"))
    name = f"GPU {gpu.index}" + (f" ({gpu.name})" if gpu.name else "")
    return Card(name, gpu.total_bytes, f"the card, as {snapshot.gpus.source} reports it", tuple(lines))
