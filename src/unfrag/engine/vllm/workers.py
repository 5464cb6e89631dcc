"""In a worker: ``v1/worker/gpu_worker.py``, ``v1/worker/cpu_worker.py``."""

from __future__ import annotations

from typing import Any


def weights_bytes(worker: Any) -> int:
    """Bytes of the model's parameters on this rank, as they lie in memory (repacked ones included)."""
    return int(sum(p.numel() * p.element_size() for p in worker.model_runner.model.parameters()))


def budget_bytes(worker: Any) -> int | None:
    """What this rank may hold of its card by vLLM's own account; None where vLLM has set no bound.

    ``gpu_memory_utilization`` of the card (``requested_memory``), and CUDA graphs where vLLM leaves them out of it
    (``VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS=0``). Read in vLLM's code, not run on a card.
    """
    from vllm import envs

    requested = getattr(worker, "requested_memory", None)
    if requested is None or getattr(worker.cache_config, "kv_cache_memory_bytes", None) is not None:
        return None
    inside = getattr(envs, "VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS", True)
    return int(requested) + (0 if inside else int(getattr(worker, "cudagraph_memory_estimate", 0)))
