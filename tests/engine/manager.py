"""vLLM's whole ``KVCacheManager``, asked as the replay asks its pool: the reference for hits and blocks."""

from __future__ import annotations

import torch
from vllm.sampling_params import SamplingParams
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_manager import KVCacheManager
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.request import Request

UNIT = 16


def a_manager(blocks, unit, groups=1, max_model_len=1 << 20, **more):
    """A real ``KVCacheManager`` over groups of full attention; the null block comes on top of ``blocks``."""
    init_none_hash(sha256)
    spec = FullAttentionSpec(block_size=unit, num_kv_heads=1, head_size=1, dtype=torch.float32)
    config = KVCacheConfig(
        num_blocks=blocks + 1,
        kv_cache_tensors=[],
        kv_cache_groups=[KVCacheGroupSpec([f"layer{group}"], spec) for group in range(groups)],
    )
    sizes = {"scheduler_block_size": unit, "hash_block_size": unit}
    return KVCacheManager(config, max_model_len=max_model_len, **sizes, **more)


class ManagerCache:
    """The reference: real requests with real tokens through the whole manager."""

    def __init__(self, blocks, unit=UNIT):
        self._unit = unit
        self._manager = a_manager(blocks, unit)
        self._hasher = get_request_block_hasher(unit, sha256)
        self._requests = {}
        self._number = 0

    def admit(self, turn):
        unit = self._unit
        tokens = [token for part in turn.ids for token in range(part * unit, part * unit + unit)][: turn.prompt]
        self._number += 1
        request = Request(
            request_id=str(self._number),
            prompt_token_ids=tokens,
            sampling_params=SamplingParams(max_tokens=1 << 19),
            pooling_params=None,
            block_hasher=self._hasher,
        )
        hits, found, *_ = self._manager.get_computed_blocks(request)
        if self._manager.allocate_slots(request, turn.prompt - found, found, hits) is None:
            return None
        request.num_computed_tokens = turn.prompt
        self._requests[id(turn)] = request
        return found

    def grow(self, turn, tokens):
        request = self._requests[id(turn)]
        missing = tokens - request.num_computed_tokens
        if missing <= 0:
            return True
        request.append_output_token_ids([0] * missing)
        if self._manager.allocate_slots(request, missing) is None:
            return False
        request.num_computed_tokens = tokens
        return True

    def release(self, turn):
        self._manager.free(self._requests.pop(id(turn)))

    def usage(self):
        return self._manager.usage
