"""What vLLM finds by entry point. A fault in here is logged once and leaves vLLM as it was."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from unfrag import own_flags
from unfrag.engine import interface

if TYPE_CHECKING:
    from unfrag.engine.endpoints import UnfragEndpoints

# A child of vLLM's logger, so that vLLM's own format and level apply.
logger = logging.getLogger("vllm.unfrag")


def register() -> None:
    """``vllm.general_plugins``: called once or more in every vLLM process.

    Adds methods to ``EngineCore``, reachable only by a call from the API server. No method of vLLM is replaced, unless
    ``--pool contiguous``, ``--compaction on`` or ``--enable-expert-cache`` was asked for.
    """
    try:
        version = interface.unsupported_version()
        if version is not None:
            logger.warning(
                "unfrag knows vLLM %s and this is %s: it stays out, the server runs as stock. "
                "Install an unfrag that knows this version.",
                ", ".join(interface.SUPPORTED),
                version,
            )
            return
        from vllm.v1.engine.core import EngineCore

        from unfrag.engine import core
        from unfrag.engine.pool import install, live

        EngineCore.unfrag_memory_stats = core.unfrag_memory_stats
        EngineCore.unfrag_flush = core.unfrag_flush
        EngineCore.unfrag_compact = core.unfrag_compact
        EngineCore.unfrag_inspect = core.unfrag_inspect
        EngineCore.unfrag_experts = core.unfrag_experts
        EngineCore.unfrag_expert_share = core.unfrag_expert_share
        if own_flags.chosen("--pool") == "contiguous":
            from vllm.v1.core.kv_cache_manager import KVCacheManager

            install.around_kv_cache_manager(KVCacheManager)
        if own_flags.chosen("--compaction") == "on":
            live.before_each_step(EngineCore)
        if own_flags.chosen("--enable-expert-cache") != "off":
            from unfrag.engine.experts import install as experts

            experts.around_engine_core(EngineCore)
    except Exception:
        logger.exception("unfrag could not be loaded: the server runs as stock")


def endpoints() -> UnfragEndpoints:
    """``vllm.endpoint_plugins``: the routes. vLLM calls this only when ``VLLM_PLUGINS`` names unfrag."""
    from unfrag.engine.endpoints import UnfragEndpoints

    return UnfragEndpoints()
