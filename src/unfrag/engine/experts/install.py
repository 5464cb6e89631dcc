"""Puts the cache into every engine core of this process, if its flags ask for one when it is made."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any

from unfrag.engine.experts.live import ExpertCache, Options, Refused
from unfrag.engine.vllm import moe
from unfrag.flags import ours
from unfrag.units import read_size

logger = logging.getLogger("vllm.unfrag")

# Calls that only look. Any other may change weights, and there is no telling by its name.
_HARMLESS = ("compute_weight_checksums", "check_health", "synchronize_device", "list_loras", "add_lora", "remove_lora")


def from_flags() -> Options:
    """What `unfrag serve` was told, by this process's environment."""
    file = ours.chosen("--expert-cache-file")
    limit = ours.chosen("--expert-cache-bytes")
    return Options(ours.chosen("--enable-expert-cache"), read_size(limit), Path(file) if file else None)


def around_engine_core(engine_core_class: Any) -> None:
    """Give every engine core of this process its cache, if its flags ask for one when it is made.

    A fault or a refusal is said once, and the engine runs as stock.
    """
    if getattr(engine_core_class, "unfrag_experts_wrapped", False):  # vLLM calls general plugins more than once
        return
    engine_core_class.unfrag_experts_wrapped = True

    def around(name: str, wrapper: Any) -> None:
        stock = getattr(engine_core_class, name)

        @functools.wraps(stock)
        def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
            return wrapper(self, stock, *args, **kwargs)

        setattr(engine_core_class, name, wrapped)

    def initialize(self: Any, stock: Any, vllm_config: Any) -> Any:
        kv_cache_config = stock(self, vllm_config)
        options = from_flags()
        if options.mode == "off":
            return kv_cache_config
        try:
            block_tokens = moe.hash_block_tokens(kv_cache_config, vllm_config)
            self.unfrag_expert_cache = ExpertCache(self, options, block_tokens)
        except Refused as why:
            logger.warning("unfrag: no expert-route cache, the server runs as stock: %s", why)
        except Exception:
            logger.exception("unfrag: no expert-route cache, the server runs as stock")
        return kv_cache_config

    def preprocess(self: Any, stock: Any, request: Any) -> Any:
        answer = request.external_req_id or request.request_id
        prepared, wave = stock(self, request)
        cache = cache_of(self)
        if cache is not None:
            cache.prepare(prepared, answer)
        return prepared, wave

    def reset(self: Any, stock: Any, *args: Any, **kwargs: Any) -> Any:
        if (cache := cache_of(self)) is not None:
            cache.forget("the prefix cache was reset")
        return stock(self, *args, **kwargs)

    def set_version(self: Any, stock: Any, version: str) -> Any:
        if (cache := cache_of(self)) is not None:
            cache.forget("new weights")
        return stock(self, version)

    def rpc(self: Any, stock: Any, method: Any, *args: Any, **kwargs: Any) -> Any:
        if method not in _HARMLESS and (cache := cache_of(self)) is not None:
            cache.forget(f"{method if isinstance(method, str) else 'a function'} was called on the workers")
        return stock(self, method, *args, **kwargs)

    for name, wrapper in (
        ("_initialize_kv_caches", initialize),
        ("preprocess_add_request", preprocess),
        ("reset_prefix_cache", reset),
        ("set_weight_version", set_version),
        ("collective_rpc", rpc),
    ):
        around(name, wrapper)


def cache_of(engine_core: Any) -> ExpertCache | None:
    """The engine core's one, or None when it has none."""
    return getattr(engine_core, "unfrag_expert_cache", None)
