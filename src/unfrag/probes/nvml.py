"""The cards of this machine, from NVML. Nothing is started, no context is made."""

from __future__ import annotations

from typing import Any

from unfrag.facts import Gpu, GpuProcess, Gpus, Unknown


def read() -> Gpus | Unknown:
    """Every card and the compute processes on it. Could not be run against a real card where it was written."""
    try:
        import pynvml
    except ImportError:
        return Unknown("nvidia-ml-py is not installed")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as fault:
        return Unknown(f"NVML: {fault}")
    try:
        gpus, processes = [], []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            uuid, memory = _text(pynvml.nvmlDeviceGetUUID(handle)), pynvml.nvmlDeviceGetMemoryInfo(handle)
            name = _text(pynvml.nvmlDeviceGetName(handle))
            gpus.append(Gpu(index, uuid, name, int(memory.total), int(memory.used)))
            for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle):
                processes.append(GpuProcess(process.pid, process.usedGpuMemory, uuid))
        return Gpus(tuple(gpus), tuple(processes), "NVML")
    except pynvml.NVMLError as fault:
        return Unknown(f"NVML: {fault}")
    finally:
        pynvml.nvmlShutdown()


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
