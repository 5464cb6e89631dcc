"""The planner's formula against vLLM's own word, and vLLM's word kept on disk."""

import pytest

from tests.plan.test_estimate import GLM_FLASH, LLAMA_8B
from unfrag.facts import Unknown
from unfrag.plan import architecture, introspect, kv, weights

QWEN3_MOE = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "num_hidden_layers": 48,
    "hidden_size": 2048,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 768,
    "intermediate_size": 6144,
    "vocab_size": 151936,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "max_position_embeddings": 40960,
}
LLAMA = {**LLAMA_8B, "architectures": ["LlamaForCausalLM"]}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNFRAG_CACHE", str(tmp_path))


@pytest.mark.parametrize(("config", "tp"), [(GLM_FLASH, 4), (LLAMA, 1), (QWEN3_MOE, 2)], ids=["mla", "dense", "moe"])
def test_both_back_ends_agree(config, tp):
    found = introspect.ask(config, tp, 1, {"max_model_len": 4096}, 4 << 30)
    assert not isinstance(found, Unknown), found
    shape = architecture.read(config)
    assert weights.per_rank(shape, tp) == pytest.approx(found.weights_bytes, rel=0.01)
    cache = kv.cache(shape, tp, block_tokens=found.layers[0].block_tokens)
    assert cache.token_bytes == found.token_bytes
    blocks = cache.blocks(4 << 30)
    assert blocks == found.num_blocks
    concurrency = blocks / cache.blocks_of_request(4096, 2048, None)
    assert concurrency == pytest.approx(found.max_concurrency)
    assert cache.tokens(blocks, 4096, concurrency, (0, 32)) == found.kv_tokens


def test_an_answer_is_kept_and_a_damaged_one_asked_again(tmp_path, monkeypatch):
    first = introspect.ask(LLAMA, 1, 1, {})
    monkeypatch.setattr(introspect, "_child", lambda request: Unknown("asked again"))
    assert introspect.ask(LLAMA, 1, 1, {}) == first
    (kept,) = (tmp_path / "plans").iterdir()
    kept.write_text("{damaged")
    assert introspect.ask(LLAMA, 1, 1, {}) == Unknown("asked again")


def test_what_vllm_refuses_is_said_in_its_words():
    found = introspect.ask({**LLAMA, "architectures": ["NoSuchModel"]}, 1, 1, {})
    assert isinstance(found, Unknown)
    assert "NoSuchModel" in found.why
