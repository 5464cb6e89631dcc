"""The environment in which vLLM runs on a CPU as it does on a GPU: Model Runner V2, asynchronous scheduling, or both.

What it cannot show: CUDA streams and graphs, pinned buffers that a device reads, speculative decoding.
"""

from __future__ import annotations

import os
from pathlib import Path

_EARLY = Path(__file__).parent / "early"
RUNNERS = ("v1", "v2")


def environment(runner: str, asynchronous: bool) -> dict[str, str]:
    """Variables for a process that has not imported vLLM yet, and for all that it starts. What a CPU has: nothing."""
    if runner == "v1" and not asynchronous:
        return {}
    path = os.pathsep.join(filter(None, (str(_EARLY), os.environ.get("PYTHONPATH"))))
    env = {"PYTHONPATH": path}
    if runner == "v2":
        env |= {
            "UNFRAG_RIG_V2": "1",
            "VLLM_USE_V2_MODEL_RUNNER": "1",
            "TRITON_INTERPRET": "1",
            # The interpreter cannot be traced, and ranks of their own are compiled in places even when eager.
            "TORCHDYNAMO_DISABLE": "1",
        }
    if asynchronous:
        env["UNFRAG_RIG_ASYNC"] = "1"
    return env
