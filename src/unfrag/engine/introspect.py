"""Asks the installed vLLM what a model would take: a child process, no weights, no GPU. Prints JSON.

The model is built on the meta device under torch's fake process group, so that one rank of any split can be looked at.
Read in vLLM 0.32 and 0.33 (``vllm/distributed/parallel_state.py``, ``vllm/v1/core/kv_cache_utils.py``); patches global
state, so it must have a process of its own: ``python -m unfrag.engine.introspect REQUEST_JSON``.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any


def main() -> None:
    request = json.loads(sys.argv[1])
    print(json.dumps(look(request)))  # noqa: T201


def look(request: dict[str, Any]) -> dict[str, Any]:
    """``{folder, tp, pp, flags, available_bytes}`` -> weights, the KV spec of every layer, vLLM's blocks and tokens."""
    import torch
    from vllm.config import set_current_vllm_config
    from vllm.engine.arg_utils import EngineArgs
    from vllm.model_executor.model_loader.utils import initialize_model
    from vllm.utils.torch_utils import set_default_torch_dtype

    flags = request.get("flags") or {}
    config = EngineArgs(
        model=request["folder"],
        skip_tokenizer_init=True,
        load_format="dummy",
        tensor_parallel_size=request["tp"],
        pipeline_parallel_size=request["pp"],
        enforce_eager=True,
        **flags,
    ).create_engine_config()
    with set_current_vllm_config(config), set_default_torch_dtype(config.model_config.dtype):
        _fake_ranks(request["tp"], request["pp"])
        with torch.device("meta"):
            model = initialize_model(vllm_config=config)
    seen: set[int] = set()
    weights = 0
    for parameter in model.parameters():
        if id(parameter) not in seen:
            seen.add(id(parameter))
            weights += parameter.numel() * parameter.element_size()
    specs = _specs(config)
    answer: dict[str, Any] = {
        "weights_bytes": weights,
        "parameters": sum(p.numel() for p in {id(p): p for p in model.parameters()}.values()),
        "layers": [
            {
                "layer": name,
                "kind": type(spec).__name__,
                "block_tokens": spec.block_size,
                "page_bytes": spec.page_size_bytes,
            }
            for name, spec in specs.items()
        ],
        "max_model_len": config.model_config.max_model_len,
        "block_size": config.cache_config.block_size,
    }
    if request.get("available_bytes"):
        answer |= _capacity(config, specs, int(request["available_bytes"]))
    return answer


def _fake_ranks(tp: int, pp: int) -> None:
    """One rank of ``tp * pp`` that talks to nobody."""
    import torch.distributed as dist
    from torch.testing._internal.distributed.fake_pg import FakeStore
    from vllm.distributed import parallel_state

    world = tp * pp
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=world)
    real_group = dist.new_group
    dist.new_group = lambda *a, **k: real_group(*a, **{**k, "backend": "fake"})
    plain = parallel_state.init_model_parallel_group

    def without_broadcaster(*args: Any, **kwargs: Any) -> Any:
        kwargs["use_message_queue_broadcaster"] = False  # it would wait for the other ranks
        return plain(*args, **kwargs)

    parallel_state.init_model_parallel_group = without_broadcaster
    with contextlib.suppress(ImportError):  # of the CPU build; its shared memory would wait for the others as well
        from vllm.distributed.device_communicators.cpu_communicator import CpuCommunicator

        CpuCommunicator._all_group_ranks_share_shm_group_name = lambda self: False
    os.environ.setdefault("VLLM_DIST_IDENT", f"unfrag-{os.getpid()}")
    parallel_state.in_the_same_node_as = lambda group, source_rank=0: [True] * world
    parallel_state.init_distributed_environment(world, 0, "env://", 0, backend="fake")
    parallel_state.ensure_model_parallel_initialized(tp, pp, backend="fake")


def _specs(config: Any) -> dict[str, Any]:
    """The KV spec of every layer that keeps something."""
    found = {}
    for name, layer in config.compilation_config.static_forward_context.items():
        ask = getattr(layer, "get_kv_cache_spec", None)
        spec = ask(config) if ask is not None else None
        if spec is not None:
            found[name] = spec
    return found


def _capacity(config: Any, specs: dict[str, Any], available: int) -> dict[str, Any]:
    """Blocks, tokens and concurrency as vLLM would print them for so many bytes."""
    from vllm.v1.attention.backends.utils import resolve_kv_cache_layout
    from vllm.v1.core import kv_cache_utils
    from vllm.v1.worker import worker_base

    try:
        from vllm.v1.core import kv_cache_planning as planning  # since 0.33
    except ImportError:
        planning = kv_cache_utils

    backends = worker_base.get_current_attn_backends(config)
    layouts = [layout.name for layout in worker_base.get_supported_kv_cache_layouts(backends)]
    resolve_kv_cache_layout(config, [layouts], list(specs.values()))
    groups = [planning.get_global_kv_cache_groups(config, [specs])] if planning is not kv_cache_utils else []
    (planned,) = planning.get_kv_cache_configs(config, [specs], [available], *groups)
    tokens, concurrency = kv_cache_utils.get_kv_cache_capacity(config, planned)
    return {
        "num_blocks": planned.num_blocks,
        "groups": len(planned.kv_cache_groups),
        "kv_tokens": tokens,
        "max_concurrency": concurrency,
    }


if __name__ == "__main__":
    main()
