"""The memory of one rank, read and released inside its worker process."""

from __future__ import annotations

import sys
from typing import Any

import psutil

from unfrag.engine import interface

RANK_KEYS = (
    "total_bytes",
    "allocated_bytes",
    "reserved_bytes",
    "inactive_split_bytes",
    "largest_free_segment_bytes",
    "non_torch_bytes",
    "weights_bytes",
    "resident_bytes",
)


def memory(worker: Any) -> dict[str, Any]:
    """One entry of ``memory_stats.ranks``, in bytes; ``None`` where the device cannot say.

    ``allocated``, ``reserved`` and ``inactive_split`` are the caching allocator's counters
    (``torch.cuda.memory_stats``). ``largest_free_segment`` is the longest inactive piece of a reserved segment:
    the largest request served without asking the driver. ``non_torch`` is what the driver says is used on the card
    by everybody, less what this process's allocator has reserved, so it includes other processes.
    A CPU rank knows none of these. ``weights`` are the model's parameters on this rank, ``resident`` is what the
    process holds in host memory. The CUDA half could not be run where it was written.
    """
    device = str(worker.device)
    entry: dict[str, Any] = {"rank": int(worker.rank), "device": device, **dict.fromkeys(RANK_KEYS)}
    entry["weights_bytes"] = interface.weights_bytes(worker)
    entry["resident_bytes"] = psutil.Process().memory_info().rss
    if device.startswith("cuda"):
        entry.update(_cuda_memory(worker.device))
    return entry


def _cuda_memory(device: Any) -> dict[str, int]:
    import torch

    free, total = torch.cuda.mem_get_info(device)
    counters = torch.cuda.memory_stats(device)
    reserved = counters["reserved_bytes.all.current"]
    return {
        "total_bytes": total,
        "allocated_bytes": counters["allocated_bytes.all.current"],
        "reserved_bytes": reserved,
        "inactive_split_bytes": counters["inactive_split_bytes.all.current"],
        "largest_free_segment_bytes": _largest_free_segment(device),
        "non_torch_bytes": total - free - reserved,
    }


def _largest_free_segment(device: Any) -> int:
    import torch

    return max(
        (
            block["size"]
            for segment in torch.cuda.memory_snapshot()
            if segment["device"] == device.index
            for block in segment["blocks"]
            if block["state"] == "inactive"
        ),
        default=0,
    )


def release(worker: Any) -> dict[str, Any]:
    """Give unused allocator memory back to the device (CUDA) or to the system (CPU); answers ``memory`` after."""
    if str(worker.device).startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
    elif sys.platform == "linux":
        _trim_heap()
    return memory(worker)


def _trim_heap() -> None:
    import ctypes

    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc; musl has none
        libc.malloc_trim(0)
