"""In a worker: ``v1/worker/gpu_worker.py``, ``v1/worker/cpu_worker.py``."""

from __future__ import annotations

from typing import Any


def weights_bytes(worker: Any) -> int:
    """Bytes of the model's parameters on this rank, as they lie in memory (repacked ones included)."""
    return int(sum(p.numel() * p.element_size() for p in worker.model_runner.model.parameters()))
