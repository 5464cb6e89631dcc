"""One cause: ``CAUSE.py`` with its logic, ``CAUSE.md`` with its words, and one line in ``RULES``.

A rule's module has ``CAUSE`` and ``judge``, a pure function from a Snapshot to what was seen, or None when it has
nothing to say. One that needs more than text also has ``can_judge`` (are the facts there to look at all), and ``looked``
where those are not enough to call a server healthy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from unfrag.doctor.rules import (
    alloc_conf_conflict,
    allocator_fragmentation,
    cudagraph_memory,
    engine_stalled,
    expert_imbalance,
    foreign_process,
    gpu_imbalance,
    host_oom,
    hybrid_waste,
    isolation_breach,
    kv_pool_too_small,
    kv_transfer_leak,
    memory_leak_gpu,
    memory_leak_host,
    mla_kv_replicated,
    moe_workspace,
    nccl_hang,
    not_memory,
    pool_fragmentation,
    preemption_thrash,
    prefix_cache_eviction,
    profiling_underestimate,
    quantization_mismatch,
    sampler_warmup_oom,
    shm_too_small,
    unsupported_flag,
    unsupported_hardware_kernel,
    utilization_too_high,
    weights_do_not_fit,
    wrong_entrypoint_or_version,
)

if TYPE_CHECKING:
    from unfrag.doctor.rules.thresholds import Thresholds
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.snapshot import Snapshot


class Rule(Protocol):
    CAUSE: str

    def judge(self, snapshot: Snapshot, thresholds: Thresholds) -> Judged | None: ...


# From the particular to the general: of two findings that are equally sure and grave, the one named first is the better.
RULES: tuple[Rule, ...] = (
    alloc_conf_conflict,
    sampler_warmup_oom,
    isolation_breach,
    memory_leak_host,
    hybrid_waste,
    preemption_thrash,
    mla_kv_replicated,
    moe_workspace,
    cudagraph_memory,
    nccl_hang,
    wrong_entrypoint_or_version,
    quantization_mismatch,
    allocator_fragmentation,
    foreign_process,
    gpu_imbalance,
    expert_imbalance,
    host_oom,
    shm_too_small,
    kv_transfer_leak,
    memory_leak_gpu,
    pool_fragmentation,
    prefix_cache_eviction,
    unsupported_hardware_kernel,
    unsupported_flag,
    profiling_underestimate,
    utilization_too_high,
    kv_pool_too_small,
    weights_do_not_fit,
    engine_stalled,
    not_memory,
)
