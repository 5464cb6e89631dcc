"""What a program's own message advises: flags and variables that it names behind "try", "set", "increase" and the like.

PyTorch's sentence about ``expandable_segments`` stands in every message of its kind and is no advice.
"""

from __future__ import annotations

import re

AT_MOST = 4
_NEAR = 160
_VERB = re.compile(
    r"\b(?:try|please|consider|should|set|use|using|pass|specify|increas\w+|decreas\w+|reduc\w+|lower\w*|rais\w+|enabl\w+|"
    r"disabl\w+|remov\w+|unset|requires?|must)\b|请|设置|增大|减小|降低|调大|调小",
    re.IGNORECASE,
)
_NAME = re.compile(
    r"--[a-z][a-z0-9]*(?:[-_][a-z0-9]+)+|--[a-z]{3,30}\b"
    r"|\b(?:VLLM|SGLANG|SGL|NCCL|HCCL|RCCL|CUDA|PYTORCH|TORCH|LMCACHE|RAY|HF|GLOO|ASCEND|HIP|ROCR|UCX|MOONCAKE|NVIDIA|NVSHMEM|"
    r"TRITON|FLASHINFER|OMP|MAX)_[A-Z][A-Z0-9_]{2,40}"
    r"|(?<![\w.])(?:gpu_memory_utilization|max_model_len|max_num_seqs|max_num_batched_tokens|tensor_parallel_size|enforce_eager|"
    r"mem_fraction_static|kv_cache_dtype|num_gpu_blocks_override|swap_space|cpu_offload_gb|limit_mm_per_prompt|trust_remote_code|"
    r"enable_chunked_prefill|block_size|cache_max_entry_count|context_length)\b"
)
_SENTENCE = re.compile(r"(?<=[.;!。；])\s+|\n")
_NEVER = re.compile(
    r"expandable_segments|max_split_size_mb|CUDA_LAUNCH_BLOCKING|TORCH_USE_CUDA_DSA|TORCH_SHOW_CPP|--help\b"
)


def advised(text: str) -> tuple[str, ...]:
    """Names in their order, a flag with its dashes; no more than ``AT_MOST``."""
    found: dict[str, None] = {}
    for sentence in _SENTENCE.split(text):
        verb = _VERB.search(sentence)
        if verb is None or _NEVER.search(sentence):
            continue
        for name in _NAME.findall(sentence[verb.end() : verb.end() + _NEAR]):
            plain = name if name[0] == "-" or name[0].isupper() else "--" + name.replace("_", "-")
            found.setdefault(plain.replace("_", "-") if plain.startswith("--") else plain)
            if len(found) >= AT_MOST:
                return tuple(found)
    return tuple(found)
