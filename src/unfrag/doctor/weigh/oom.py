"""One failed allocation, weighed: whose bytes fill the card, and what the server was doing.

The sentence with "expandable_segments" stands in every message of PyTorch and is never looked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unfrag.doctor.weigh import evidence

if TYPE_CHECKING:
    from unfrag.facts.log import Event, Log, Oom
    from unfrag.facts.snapshot import Snapshot

_CONTEXT = 600 * 2**20  # a CUDA context and its libraries, where the message counts the own process wrongly
_STAGES = (
    ("sampler", r"_dummy_sampler_run|_dummy_pooler_run"),
    (
        "graphs",
        r"capture_model|capture_graphs?\b|_capture_cudagraphs|capture_one_batch|CudaGraphRunner|init_device_graphs|init_cuda_graphs?|graphs\.py:|cuda_graph_runner|cudagraph_utils|capture_begin|profile_cudagraph",
    ),
    (
        "profile",
        r"profile_run|determine_available_memory|determine_num_available_blocks|profile_num_available|profile_max_num",
    ),
    (
        "kv",
        r":initialize_kv_cache\b|allocate_kv_cache|_allocate_kv_cache|init_memory_pool|_create_buffers|initialize_cache|_allocate_gpu_cache|initialize_from_config|allocate_gpu_cache|CacheEngine|cache_engine\.py",
    ),
    (
        "weights",
        r"load_model|initialize_model|create_weights|load_weights|weight_loader|process_weights_after_loading|_init_model|from_pretrained|load_state_dict|_load_w\w+|weight_utils\.py|model_loader|dispatch_model|init_empty_weights|set_module_tensor",
    ),
    (
        "run",
        r"execute_model|forward_batch|forward_extend|forward_decode|_model_forward|step_async|event_loop|engine_step|run_engine_loop|run_busy_loop|forward_thread_func|generate\b",
    ),
)
_COMPONENTS = (
    ("indexer", r"indexer|mqa_logits|lightning_index"),
    (
        "vision",
        r"visual|vision|image|pixel|multimodal|multi_modal|_mm_|embed_mm|siglip|clip|intern_?vit|audio|video|encoder_cache|execute_mm|_vl\.py|_vl_",
    ),
    ("moe", r"fused_moe|fused_experts|moe|experts|deep_?ep|modular_kernel|grouped_gemm|invoke_fused"),
    ("logits", r"logits|log_softmax|softmax|lm_head|sampler|logprob|topk_topp|top_k_top_p|penalt|rejection"),
    ("lora", r"lora|punica"),
    ("workspace", r"workspace|_compute_prefill_context|gather_and_maybe|merge_attn|chunked_prefill"),
)
_INNERMOST = 14


@dataclass(frozen=True)
class View:
    """Sizes in bytes; None is unknown. ``others``: of the card, held by nobody in this process."""

    oom: Oom
    log: Log
    stage: str | None
    component: str | None
    asked: int
    total: int | None
    free: int | None
    mine: int | None
    others: int | None
    allocated: int | None
    unallocated: int | None

    @property
    def fragmented(self) -> float:
        """How much of what was asked for lay unused in PyTorch: 1 is all of it."""
        return (self.unallocated or 0) / self.asked if self.asked else 0.0

    def share(self, value: int | None) -> float | None:
        """Of the card."""
        return value / self.total if value is not None and self.total else None


def of(snapshot: Snapshot) -> View | None:
    """The first failed allocation of the last life that has one and that still counts."""
    for log in evidence.logs(snapshot):
        counting = [o for o in log.ooms if o.asked is not None and evidence.still_counts(log, o.life, o.ready)]
        if counting:
            life = counting[-1].life
            first = [o for o in counting if o.life == life]
            known = max(first[:8], key=lambda o: (o.total is not None) + (o.allocated is not None) + bool(o.frames))
            return _view(known, log)
    return None


def _view(oom: Oom, log: Log) -> View:
    mine = oom.mine
    if mine is None and oom.allocated is not None:
        mine = oom.allocated + (oom.unallocated or 0) + _CONTEXT
    others = oom.others
    if oom.total is not None and oom.free is not None and mine is not None:
        others = max(0, oom.total - oom.free - mine)
    return View(
        oom=oom,
        log=log,
        stage=_stage(oom, log),
        component=component_of(oom.frames),
        asked=oom.asked or 0,
        total=oom.total,
        free=oom.free,
        mine=mine,
        others=others,
        allocated=oom.allocated,
        unallocated=oom.unallocated,
    )


def bare(snapshot: Snapshot) -> tuple[Event, str | None, str | None] | None:
    """A failed allocation that was printed without numbers: (message, stage, component)."""
    event = evidence.said(snapshot, "bare_oom")
    if event is None or of(snapshot) is not None:
        return None
    return event, stage_of(event.frames) or ("run" if event.ready else None), component_of(event.frames)


def stage_of(frames: tuple[str, ...]) -> str | None:
    """What a traceback was doing, the most particular stage first."""
    warming = any(re.search(r"warm_?up", frame) for frame in frames)
    if warming and any(re.search(r"sampl|topk_topp|top_k_top_p", frame) for frame in frames):
        return "sampler"
    return next((stage for stage, pattern in _STAGES if any(re.search(pattern, frame) for frame in frames)), None)


def _stage(oom: Oom, log: Log) -> str | None:
    """From the traceback; without one, from how far the start had come."""
    if stage := stage_of(oom.frames):
        return stage
    if oom.ready:
        return "run"
    if not oom.loaded:
        return "weights" if oom.life else None
    if any(event.life == oom.life for event in log.all("graphs_capturing")):
        return "graphs"
    return None if oom.sized else "profile"


def component_of(frames: tuple[str, ...]) -> str | None:
    """Which part of the model the innermost frames are of."""
    found: list[str] = []
    for frame in reversed(frames[-_INNERMOST:]):
        found += [name for name, pattern in _COMPONENTS if re.search(pattern, frame, re.IGNORECASE)]
    if found[:1] == ["workspace"] and "moe" in found:  # whose workspace it is stands further out
        return "moe"
    return found[0] if found else None
