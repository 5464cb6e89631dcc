"""Advice is written in vLLM's flags; for another engine it is said in that one's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from unfrag.doctor.weigh import evidence

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

_SGLANG = {
    "--max-num-seqs": "--max-running-requests",
    "--gpu-memory-utilization": "--mem-fraction-static",
    "--max-num-batched-tokens": "--chunked-prefill-size",
    "--kv-cache-dtype fp8": "--kv-cache-dtype fp8_e5m2",
    "--tensor-parallel-size": "--tp",
    "--max-model-len": "--context-length",
    "--max-cudagraph-capture-size": "--cuda-graph-max-bs",
    "--enforce-eager": "--disable-cuda-graph",
    "vllm serve": "python -m sglang.launch_server",
}
_LMDEPLOY = {
    "--max-num-seqs": "--max-batch-size",
    "--gpu-memory-utilization": "--cache-max-entry-count",
    "--max-num-batched-tokens": "--max-prefill-token-num",
    "--kv-cache-dtype fp8": "--quant-policy 8",
    "--tensor-parallel-size": "--tp",
    "--max-model-len": "--session-len",
    "--enforce-eager": "--eager-mode",
    "vllm serve": "lmdeploy serve api_server",
}
_VLLM_ONLY = re.compile(
    r"--(?:kv-transfer-config|decode-context-parallel-size|kv-offloading-size|max-logprobs|limit-mm)|unfrag flush"
)


class Dialect(msgspec.Struct, frozen=True):
    """How an engine spells vLLM's flags; ``only_vllm``: what it has no word for is left unsaid."""

    words: dict[str, str]
    only_vllm: bool

    def say(self, text: str) -> str | None:
        """The text in this engine's words; None where only vLLM has such a thing."""
        if self.only_vllm and _VLLM_ONLY.search(text):
            return None
        for ours, theirs in self.words.items():
            text = text.replace(ours, theirs)
        return text


def of(snapshot: Snapshot) -> Dialect:
    """That of the engine at hand."""
    words = {"sglang": _SGLANG, "lmdeploy": _LMDEPLOY}.get(_engine(snapshot))
    return Dialect(words or {}, words is not None)


def _engine(snapshot: Snapshot) -> str:
    said = snapshot.engine.lower() if isinstance(snapshot.engine, str) else ""
    line = evidence.command(snapshot)
    for name in ("sglang", "lmdeploy"):
        if name in said or name in line:
            return name
    return "vllm"
