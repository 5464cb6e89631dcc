"""The engines behind an API server: ``v1/engine/async_llm.py``, ``v1/engine/core_client.py``."""

from __future__ import annotations

from typing import Any


def engines(engine_client: Any) -> list[Any]:
    """Identities of the engines behind this API server: one, or one per data-parallel rank."""
    return list(engine_client.engine_core.core_engines)


async def call_engine(engine_client: Any, engine: Any, method: str, *args: Any) -> Any:
    """Call ``EngineCore.<method>(*args)`` between two steps of that engine. Waits as long as its step takes.

    A method that returns a Future is answered when that is done. An engine that died never answers.
    """
    return await engine_client.engine_core._call_utility_async(method, *args, engine=engine)


async def is_alive(engine_client: Any) -> bool:
    """False once the engine core has died (vLLM's ``EngineDeadError``)."""
    from vllm.v1.engine.exceptions import EngineDeadError

    try:
        await engine_client.check_health()
    except EngineDeadError:
        return False
    return True
