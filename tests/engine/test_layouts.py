"""Blocks copied in the layouts in which a GPU's attention backends keep KV: CPU tensors of those shapes and strides."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from unfrag.engine.vllm import tables

BLOCKS, TOKENS = 8, 16


def latent():
    """MLA: one row a token."""
    return [torch.zeros(BLOCKS, TOKENS, 576) for _ in range(2)]


def keys_beside_values():
    return [torch.zeros(BLOCKS, 2, TOKENS, 4, 32) for _ in range(2)]


def heads_outermost():
    """Heads before tokens in memory, tokens before heads in shape."""
    return [torch.zeros(BLOCKS, 2, 4, TOKENS, 32).permute(0, 1, 3, 2, 4) for _ in range(2)]


def kernels_own_blocks():
    """The kernel's blocks are a quarter of the scheduler's."""
    return [torch.zeros(BLOCKS * 4, 2, TOKENS // 4, 4, 32) for _ in range(2)]


def layers_in_one_storage():
    """All layers of a block lie together; each layer is a view with the stride of all."""
    storage = torch.zeros(BLOCKS, 3, 2, TOKENS, 4, 32)
    return [storage[:, layer] for layer in range(3)]


def layers_shared():
    """A layer that uses another one's KV is the same view twice."""
    (first,) = keys_beside_values()[:1]
    return [first, first]


def padded():
    """Room behind each block that no layer of this view uses."""
    return [torch.zeros(BLOCKS, 2 * TOKENS * 40)[:, : 2 * TOKENS * 32].unflatten(1, (2, TOKENS, 32))]


def of_block(cache, block):
    part = cache.shape[0] // BLOCKS
    return cache[block * part : (block + 1) * part]


@pytest.mark.parametrize(
    "layout",
    [latent, keys_beside_values, heads_outermost, kernels_own_blocks, layers_in_one_storage, layers_shared, padded],
)
def test_every_layer_of_a_block_goes_where_its_block_goes(layout):
    """Also where a target is a source of the same pass: all reads come before all writes."""
    caches = layout()
    for number, cache in enumerate(caches):
        for block in range(BLOCKS):
            of_block(cache, block).fill_(100 * number + block)
    before = [[of_block(cache, block).clone() for block in range(BLOCKS)] for cache in caches]
    runner = SimpleNamespace(
        input_batch=SimpleNamespace(block_table=SimpleNamespace(block_tables=[]), req_id_to_index={}),
        requests={},
        kv_caches=caches,
        kv_cache_config=SimpleNamespace(num_blocks=BLOCKS),
    )
    worker = SimpleNamespace(model_runner=runner, device=torch.device("cpu"))
    assert tables.move(worker, [(7, 2), (6, 7)], {}) is None
    came_from = {2: 7, 7: 6}
    for cache, was in zip(caches, before, strict=True):
        for block in range(BLOCKS):
            assert torch.equal(of_block(cache, block), was[came_from.get(block, block)]), block
