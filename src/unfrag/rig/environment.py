"""What real vLLM needs to run on a small CPU machine, as environment and flags. Measured facts, one comment each."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from unfrag.flags.line import change_flags
from unfrag.server.vllm_plugins import VARIABLE, with_unfrag

if TYPE_CHECKING:
    from pathlib import Path

SERVED_NAME = "glm-4.7-flash-rig"
MAX_MODEL_LEN = 8192


def environment(ranks: int = 1) -> dict[str, str]:
    """Environment variables of a rig's server."""
    one_rank = {
        # The one worker lives in the engine core's process, as it does on a single GPU. As two processes they
        # spin on shared memory, and on two cores starve the API server and the load for seconds.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        # The other core is the API server's and the load's.
        "OMP_NUM_THREADS": "1",
    }
    # Ranks spin: two on one core would starve each other.
    more_ranks = {"VLLM_CPU_OMP_THREADS_BIND": "|".join(str(core) for core in range(ranks))}
    return {
        VARIABLE: with_unfrag(None),
        # Latent attention on a CPU turns prefix caching and chunked prefill off; ordinary attention has both.
        "VLLM_MLA_DISABLE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        # Whole GiB; the pool is then cut to size by --num-gpu-blocks-override.
        "VLLM_CPU_KVCACHE_SPACE": "1",
        **(one_rank if ranks == 1 else more_ranks),
    }


def server_flags() -> dict[str, str | None]:
    """What the rig's server is started with unless told otherwise.

    ``--enforce-eager`` is the rig's own: compiling takes 40 s of a start and saves a tenth of a step.
    """
    return {
        "--served-model-name": SERVED_NAME,
        "--host": "127.0.0.1",
        "--max-model-len": str(MAX_MODEL_LEN),
        "--enforce-eager": None,
    }


def command(model: Path, port: int) -> str:
    """The article's untuned command line, at the rig's model and port."""
    line = shlex.join([sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)])
    return change_flags(line, {**server_flags(), "--port": str(port)})
