"""A real engine on the rig's model in this process: its scheduler can be looked into and stepped one step at a time."""

from __future__ import annotations

import contextlib
import os

from unfrag.engine import core
from unfrag.engine.experts.install import around_engine_core
from unfrag.engine.pool.reading import read_pool
from unfrag.flags import ours
from unfrag.rig import environment
from unfrag.rig.model import ensure_model


@contextlib.contextmanager
def an_engine(blocks, max_num_seqs, ranks=1, own=(), **arguments):
    """``vllm.LLM`` with so many blocks of 32 tokens and this ``max_num_seqs``; ``own``: unfrag's own flags as words.

    Shut down at the end, and the environment put back.
    """
    before = dict(os.environ)
    os.environ |= {**environment.environment(ranks), "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    os.environ |= ours.split(list(own))[1]
    try:
        from vllm import LLM, envs
        from vllm.v1.engine.core import EngineCore

        # As the plugin does in a process of its own, where it is loaded once and so sees one set of flags.
        around_engine_core(EngineCore)
        envs.disable_envs_cache()  # of the engine before in this process
        llm = LLM(
            str(ensure_model()),
            max_model_len=2048,
            block_size=32,
            num_gpu_blocks_override=blocks,
            enforce_eager=True,
            max_num_seqs=max_num_seqs,
            tensor_parallel_size=ranks,
            **arguments,
        )
        try:
            yield llm
        finally:
            llm.llm_engine.engine_core.shutdown()
    finally:
        os.environ.clear()
        os.environ |= before


def flush(llm):
    """As the endpoint does it: every cached block that no request refers to is dropped. Readings before and after."""
    before = read_pool(engine_core(llm))
    start = 0
    while start is not None:
        start = core.unfrag_evict(engine_core(llm), start)
    assert not any(rank.get("unknown") for rank in core.unfrag_release(engine_core(llm), True))
    return {"before": before, "after": read_pool(engine_core(llm))}


def compact(llm):
    """Pass after pass without a step in between, until no move is left. Blocks moved, and why not."""
    moved = 0
    while True:
        done = core.unfrag_compact(engine_core(llm))
        moved += done["live"]
        if done["finished"]:
            return moved, done["why"]


def engine_core(llm):
    """vLLM's ``EngineCore`` behind it."""
    return llm.llm_engine.engine_core.engine_core
