"""The memory of each rank: read and released inside its worker process, asked for by the engine core.

A reading that fails is ``None`` with the reason and is not tried again at once. The CUDA half could not be run where it
was written; its arithmetic is tested on recorded answers of ``torch.cuda``.
"""

from __future__ import annotations

import functools
import inspect
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil

from unfrag.engine.vllm.remote import Foreign, Remote, StepFailed
from unfrag.engine.vllm.workers import budget_bytes, weights_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

RANK_KEYS = (
    "total_bytes",
    "allocated_bytes",
    "reserved_bytes",
    "inactive_split_bytes",
    "largest_free_segment_bytes",
    "non_torch_bytes",
    "weights_bytes",
    "resident_bytes",
    "budget_bytes",
)
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 5.0, 300.0
# Walking the allocator's segments may take this share of the worker's time.
_SHARE = 0.005
_UNMAPPED = "non_torch_bytes: the allocator counts memory that is unmapped while the engine sleeps"


class RankMemory:
    """Asks all ranks; after a failure it waits twice as long each time. From the engine's thread alone."""

    def __init__(self, remote: Remote, ranks: int, is_asleep: Callable[[], bool], clock: Callable[[], float]) -> None:
        self._remote, self._ranks, self._is_asleep, self._clock = remote, ranks, is_asleep, clock
        self._not_before, self._wait = float("-inf"), _FIRST_WAIT_SECONDS
        self._last: list[dict[str, Any]] = self._unknown("not read yet")

    def read(self) -> list[dict[str, Any]]:
        """One entry of ``memory_stats.ranks`` each.

        Raises:
            TimeoutError: a rank does not answer, and the engine ends.
        """
        return self._ask(memory) if self._clock() >= self._not_before else self._last

    def release(self, asked: bool) -> list[dict[str, Any]]:
        """As :meth:`read`, after :func:`release` on each rank; ``released`` says which gave memory back, or why not."""
        return self._ask(functools.partial(release, asked=asked))

    def _ask(self, function: Callable[[Any], dict[str, Any]]) -> list[dict[str, Any]]:
        try:
            answers = self._remote.ask(function)
        except StepFailed:
            return self._last
        except Foreign as fault:
            return self._failed(self._unknown(str(fault)))
        entries = [each.value or _entry(rank, "unknown", each.fault) for rank, each in enumerate(answers)]
        if any(each.fault for each in answers):
            return self._failed(entries)
        if self._is_asleep():
            entries = [{**entry, "non_torch_bytes": None, "unknown": _UNMAPPED} for entry in entries]
        self._wait, self._not_before, self._last = _FIRST_WAIT_SECONDS, float("-inf"), entries
        return entries

    def _failed(self, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self._not_before = self._clock() + self._wait
        self._wait = min(_LONGEST_WAIT_SECONDS, self._wait * 2)
        self._last = entries
        return entries

    def _unknown(self, why: str) -> list[dict[str, Any]]:
        return [_entry(rank, "unknown", why) for rank in range(self._ranks)]


def _entry(rank: int, device: str, why: str | None) -> dict[str, Any]:
    """Nothing known. ``unknown``: why not, where something failed."""
    return {"rank": rank, "device": device, **dict.fromkeys(RANK_KEYS), **({"unknown": why} if why else {})}


def memory(worker: Any) -> dict[str, Any]:
    """One entry of ``memory_stats.ranks``, in bytes; ``None`` where the device cannot say. Runs in the worker.

    ``allocated``, ``reserved`` and ``inactive_split`` are the caching allocator's counters
    (``torch.cuda.memory_stats``). ``largest_free_segment`` is the longest inactive piece of a reserved segment that an
    ordinary allocation can use: the largest request served without asking the driver. ``non_torch`` is what the driver
    says is used on the card by everybody, less what this process's allocator has reserved, so it includes other
    processes. ``weights`` are the model's parameters on this rank, ``resident`` is what the process holds in host
    memory; a CPU rank knows only those two. ``budget`` is what vLLM lets this rank hold of its card.
    """
    device = str(worker.device)
    entry = _entry(int(worker.rank), device, None)
    faults: list[str] = []
    reads: dict[str, Callable[[], int | None]] = {
        "weights_bytes": lambda: weights_bytes(worker),
        "resident_bytes": lambda: int(psutil.Process().memory_info().rss),
        "budget_bytes": lambda: budget_bytes(worker) if device.startswith("cuda") else None,
    }
    for key, read in reads.items():
        try:
            entry[key] = read()
        except Exception as fault:
            faults.append(f"{key}: {type(fault).__name__}: {fault}")
    if device.startswith("cuda"):
        _cuda_memory(worker.device, entry, faults)
    if faults:
        entry["unknown"] = "; ".join(faults)
    return entry


def _cuda_memory(device: Any, entry: dict[str, Any], faults: list[str]) -> None:
    import torch

    free = None
    try:
        free, entry["total_bytes"] = torch.cuda.mem_get_info(device)
    except Exception as fault:
        faults.append(f"driver: {type(fault).__name__}: {fault}")
    try:
        counters = torch.cuda.memory_stats(device)
        for key in ("allocated", "reserved", "inactive_split"):
            entry[f"{key}_bytes"] = counters.get(f"{key}_bytes.all.current")
    except Exception as fault:
        faults.append(f"allocator: {type(fault).__name__}: {fault}")
    backend = torch.cuda.get_allocator_backend()
    if backend != "native":
        faults.append(f"largest_free_segment_bytes: the allocator {backend} keeps no segments")
        entry["inactive_split_bytes"] = None
    else:
        try:
            entry["largest_free_segment_bytes"] = _segments.largest_free(device)
        except Exception as fault:
            faults.append(f"largest_free_segment_bytes: {type(fault).__name__}: {fault}")
    if entry["reserved_bytes"] is not None and free is not None:
        other = entry["total_bytes"] - free - entry["reserved_bytes"]
        if other >= 0:
            entry["non_torch_bytes"] = other
        else:
            faults.append(_UNMAPPED)


class _Segments:
    """The allocator's segments of one process, walked no more often than that is cheap."""

    def __init__(self) -> None:
        self._due = float("-inf")
        self._largest: int | None = None

    def largest_free(self, device: Any) -> int | None:
        """Bytes of the longest inactive block that an ordinary allocation can have; graphs' private pools left out."""
        import torch

        began = time.monotonic()
        if began < self._due:
            return self._largest
        snapshot = torch.cuda.memory_snapshot
        quick = {"include_traces": False} if "include_traces" in inspect.signature(snapshot).parameters else {}
        self._largest = max(
            (
                block["size"]
                for segment in snapshot(**quick)
                if segment["device"] == device.index and tuple(segment.get("segment_pool_id", (0, 0))) == (0, 0)
                for block in segment["blocks"]
                if block["state"] == "inactive"
            ),
            default=0,
        )
        done = time.monotonic()
        self._due = done + (done - began) / _SHARE
        return self._largest


_segments = _Segments()


def release(worker: Any, asked: bool) -> dict[str, Any]:
    """Give unused allocator memory back to the device (CUDA) or to the system (CPU); answers ``memory`` after.

    ``released`` in the answer: True, or why not. On a card it is only done when ``asked`` for: vLLM needs that memory
    again at its next peak, and until then whoever else is on the card can take it.
    """
    released: bool | str = True
    if str(worker.device).startswith("cuda"):
        if asked:
            import torch

            torch.cuda.empty_cache()
        else:
            released = (
                "vLLM needs it again at its next peak, and any other process on the card could take it until then; "
                "ask for it with allocator=true"
            )
    elif sys.platform == "linux":
        _trim_heap()
    return {**memory(worker), "released": released}


def _trim_heap() -> None:
    import ctypes

    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc; musl has none
        libc.malloc_trim(0)
