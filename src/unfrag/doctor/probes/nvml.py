"""The cards of this machine, from NVML: memory, processes by name, MIG, ECC. No context is made.

BAR1 is a window into the card's memory and no memory of its own, so it is not added up.
Could not be run against a real card where it was written.
"""

from __future__ import annotations

from typing import Any

import psutil

from unfrag.facts.snapshot import Gpu, GpuProcess, Gpus
from unfrag.facts.values import Unknown


def read() -> Gpus | Unknown:
    """Every card and the compute processes on it. A card that cannot be asked one thing is asked the others."""
    try:
        import pynvml
    except ImportError:
        return Unknown("nvidia-ml-py is not installed")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as fault:
        return Unknown(f"NVML: {fault}")
    except Exception as fault:  # an old or broken libnvidia-ml.so
        return Unknown(f"NVML cannot be loaded: {fault}")
    try:
        gpus, processes = [], []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            uuid = _text(_ask(pynvml.nvmlDeviceGetUUID, handle))
            memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
            mig = _ask(pynvml.nvmlDeviceGetMigMode, handle)
            gpus.append(
                Gpu(
                    index,
                    uuid,
                    _text(_ask(pynvml.nvmlDeviceGetName, handle)),
                    int(memory.total) if memory else None,
                    int(memory.used) if memory else None,
                    mig=bool(mig[0]) if mig else None,
                    ecc_errors=_ask(
                        pynvml.nvmlDeviceGetTotalEccErrors,
                        handle,
                        pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
                        pynvml.NVML_VOLATILE_ECC,
                    ),
                )
            )
            for process in _ask(pynvml.nvmlDeviceGetComputeRunningProcesses, handle) or ():
                name = _text(_ask(pynvml.nvmlSystemGetProcessName, process.pid))
                alive = psutil.pid_exists(process.pid)
                processes.append(GpuProcess(process.pid, process.usedGpuMemory, uuid, name, index, alive))
        return Gpus(tuple(gpus), tuple(processes), "NVML")
    except pynvml.NVMLError as fault:
        return Unknown(f"NVML: {fault}")
    finally:
        pynvml.nvmlShutdown()


def _ask(question: Any, *about: Any) -> Any:
    """The answer, or None from a card or driver that does not know it."""
    try:
        return question(*about)
    except Exception:
        return None


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
