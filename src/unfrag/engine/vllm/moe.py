"""Expert routers (``model_executor/layers/fused_moe``), and the hashes by which blocks are told apart."""

from __future__ import annotations

from typing import Any


def layers(worker: Any) -> list[Any]:
    """The model's MoE layers (``fused_moe/runner/moe_runner.py``) by their number."""
    from vllm.model_executor.layers.fused_moe.layer import MoERunner

    found = [module for module in worker.get_model().modules() if isinstance(module, MoERunner)]
    return sorted(found, key=lambda layer: layer.layer_id)


def is_base_router(router: Any) -> bool:
    """One whose choice of experts is a method of its own, before anything is recorded of it."""
    from vllm.model_executor.layers.fused_moe.router.base_router import BaseRouter

    return isinstance(router, BaseRouter)


def is_eager(worker: Any) -> bool:
    """Does every forward pass run Python: not compiled, not captured?"""
    from vllm.config import CompilationMode, CUDAGraphMode

    compilation = worker.vllm_config.compilation_config
    uncaptured = compilation.cudagraph_mode in (None, CUDAGraphMode.NONE)
    return compilation.mode == CompilationMode.NONE and uncaptured


def hash_block_tokens(kv_cache_config: Any, vllm_config: Any) -> int:
    """Tokens of the blocks that prefix caching hashes."""
    from vllm.v1.core.kv_cache_utils import resolve_kv_cache_block_sizes

    _, tokens = resolve_kv_cache_block_sizes(kv_cache_config, vllm_config)
    return int(tokens)


def hasher(config: Any, block_tokens: int) -> Any:
    """vLLM's own, which it does not make when prefix caching is off."""
    from vllm.utils.hashing import get_hash_fn_by_name
    from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash

    function = get_hash_fn_by_name(config.cache_config.prefix_caching_hash_algo)
    init_none_hash(function)
    return get_request_block_hasher(block_tokens, function)


def hash_seed(config: Any) -> Any:
    """What the first block's hash begins with: equal seeds, equal hashes."""
    from vllm.utils.hashing import get_hash_fn_by_name
    from vllm.v1.core.kv_cache_utils import resolve_none_hash_seed

    return resolve_none_hash_seed(get_hash_fn_by_name(config.cache_config.prefix_caching_hash_algo))
