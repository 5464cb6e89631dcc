"""Advice is written in vLLM's flags; for another engine it is said in that one's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from unfrag.doctor.weigh import evidence

if TYPE_CHECKING:
    from unfrag.facts.finding import Finding
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


def translate(finding: Finding, snapshot: Snapshot) -> Finding:
    """The finding with its fixes in the words of the engine at hand; what only vLLM has is left out."""
    words = {"sglang": _SGLANG, "lmdeploy": _LMDEPLOY}.get(_engine(snapshot))
    if words is None:
        return finding
    fixes = [fix for fix in finding.fixes if not _VLLM_ONLY.search(fix)]
    for ours, theirs in words.items():
        fixes = [fix.replace(ours, theirs) for fix in fixes]
    return msgspec.structs.replace(finding, fixes=tuple(fixes))


def _engine(snapshot: Snapshot) -> str:
    said = snapshot.engine.lower() if isinstance(snapshot.engine, str) else ""
    line = evidence.command(snapshot)
    for name in ("sglang", "lmdeploy"):
        if name in said or name in line:
            return name
    return "vllm"
