"""What vLLM finds by entry point. A fault in here is logged once and leaves vLLM as it was."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from unfrag.engine.vllm import classes, features
from unfrag.flags import ours

if TYPE_CHECKING:
    from unfrag.engine.endpoints import UnfragEndpoints

logger = logging.getLogger("vllm.unfrag")


def register() -> None:
    """``vllm.general_plugins``: called once or more in every vLLM process.

    Adds methods to ``EngineCore``, reachable only by a call from the API server. No method of vLLM is replaced, unless
    ``--pool contiguous``, ``--compaction on`` or ``--enable-expert-cache`` was asked for.
    """
    if features.disabled():
        logger.info("unfrag does nothing in this process: %s is set", features.DISABLE_VARIABLE)
        return
    try:
        if os.environ.get("VLLM_USE_RUST_FRONTEND", "0") not in ("", "0"):
            logger.warning(
                "unfrag: VLLM_USE_RUST_FRONTEND serves HTTP without Python: there are no routes of the plugin, and "
                "/health has no memory_stats"
            )
        _add_methods()
        if ours.chosen("--pool") == "contiguous" and features.is_on("pool"):
            from unfrag.engine.pool import install

            install.around_kv_cache_manager(classes.kv_cache_manager())
        if ours.chosen("--compaction") == "on" and features.is_on("compaction"):
            from unfrag.engine.pool import live

            live.before_each_step(classes.engine_core())
        if ours.chosen("--enable-expert-cache") != "off" and features.is_on("expert_cache"):
            from unfrag.engine.experts import install as experts

            experts.around_engine_core(classes.engine_core())
    except Exception:
        logger.exception("unfrag could not be loaded: the server runs as stock")


def _add_methods() -> None:
    """Those of features that this vLLM lacks fail when they are called, and say why."""
    from unfrag.engine import core

    for method in core.METHODS:
        setattr(classes.engine_core(), method.__name__, method)


def endpoints() -> UnfragEndpoints:
    """``vllm.endpoint_plugins``: the routes. vLLM calls this only when ``VLLM_PLUGINS`` names unfrag."""
    from unfrag.engine.endpoints import UnfragEndpoints

    return UnfragEndpoints()
