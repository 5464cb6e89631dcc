"""PyTorch and CUDA, beside the out-of-memory message (``probes/log/oom.py`` reads that)."""

from __future__ import annotations

from unfrag.doctor.probes.log.pattern import Message as M

MESSAGES = (
    M(
        "bare_oom",
        ("out of memory", "ALLOC_FAILED", "MemoryAllocation", "Out of memory"),
        r"(?:CUDA (?:driver )?error: out of memory|CUDA out of memory\s*(?:$|\.\s*$)|cudaErrorMemoryAllocation|CUDA runtime error: out of memory|(?:Prefill|Decode) out of memory\. Try|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|CUDA_ERROR_OUT_OF_MEMORY|HIP out of memory\s*$)",
    ),
    M(
        "illegal_access",
        (
            "illegal memory access",
            "device-side assert",
            "misaligned address",
            "unspecified launch failure",
            "illegal instruction",
        ),
        r"(?:illegal memory access|device-side assert triggered|misaligned address|unspecified launch failure|illegal instruction was encountered)",
    ),
    M(
        "cpu_alloc",
        ("DefaultCPUAllocator",),
        r"DefaultCPUAllocator: (?:can't allocate memory|not enough memory)(?:: you tried to allocate <asked:size>)?",
    ),
    M(
        "shm_open",
        ("unable to open shared memory", "unable to mmap", "shared memory object", "torch_", "shm"),
        r"(?:unable to open shared memory object|unable to (?:mmap|resize|write to file) .{0,60}(?:/torch_|shm)|could not (?:un)?link the shared memory|unable to allocate shared memory)",
    ),
    M(
        "dataloader_shm",
        ("insufficient shared memory", "increase shared memory", "out of shared memory", "shm"),
        r"(?:insufficient shared memory|out of shared memory|(?:increase|raise) .{0,30}(?:shm|shared memory)|might be caused by insufficient shared memory)",
    ),
    M(
        "invalid_device",
        (
            "invalid device ordinal",
            "No CUDA GPUs",
            "no CUDA-capable",
            "CUDA_VISIBLE_DEVICES",
            "is_available",
            "Duplicate GPU",
            "more GPUs",
        ),
        r"(?:invalid device ordinal|No CUDA GPUs are available|no CUDA-capable device|Duplicate GPU detected|world[_ ]size .{0,40}(?:larger|greater) than .{0,30}(?:GPUs|available)|is larger than the number of available GPUs)",
    ),
    M(
        "nvml_unknown",
        ("Failed to initialize NVML", "NVMLError", "nvmlInit"),
        r"(?:Failed to initialize NVML|NVMLError_\w+|Can't initialize NVML)",
    ),
)
