"""What real vLLM needs to run on a small CPU machine, as environment and flags. Measured facts, one comment each."""

from __future__ import annotations

import sys
from pathlib import Path

from unfrag.vllm_plugins import VARIABLE, with_unfrag

SERVED_NAME = "glm-4.7-flash-rig"
MAX_MODEL_LEN = 8192


def environment(ranks: int = 1) -> dict[str, str]:
    """Environment variables of a rig's server."""
    return {
        VARIABLE: with_unfrag(None),
        # Latent attention on a CPU turns prefix caching and chunked prefill off; ordinary attention has both.
        "VLLM_MLA_DISABLE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        # Whole GiB; the pool is then cut to size by --num-gpu-blocks-override.
        "VLLM_CPU_KVCACHE_SPACE": "1",
        # Ranks spin: two on one core would starve each other.
        **({"VLLM_CPU_OMP_THREADS_BIND": "|".join(str(core) for core in range(ranks))} if ranks > 1 else {}),
    }


def command(model: Path, port: int) -> list[str]:
    """The article's untuned command line, at the rig's model and port.

    ``--enforce-eager`` is the rig's own: compiling takes 40 s of a start and 10% of the time of a step.
    """
    return [
        sys.executable,
        *("-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(model)),
        *("--served-model-name", SERVED_NAME),
        *("--host", "127.0.0.1"),
        *("--port", str(port)),
        *("--max-model-len", str(MAX_MODEL_LEN)),
        "--enforce-eager",
    ]
