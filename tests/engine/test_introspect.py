"""The planner's formula against vLLM's own word, and vLLM's word kept on disk."""

import pytest

from tests.plan.test_estimate import GLM_FLASH, LLAMA_8B
from unfrag.facts.values import Unknown
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
FP8 = {**LLAMA, "quantization_config": {"quant_method": "fp8", "activation_scheme": "dynamic"}}
AWQ = {
    **LLAMA,
    "quantization_config": {
        "quant_method": "awq",
        "bits": 4,
        "group_size": 128,
        "zero_point": True,
        "version": "gemm",
    },
}
QWEN2_TIED = {
    **LLAMA,
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "num_hidden_layers": 36,
    "hidden_size": 2048,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "intermediate_size": 11008,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
}
DEEPSEEK = {
    **GLM_FLASH,
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "num_hidden_layers": 8,
    "first_k_dense_replace": 3,
    "hidden_size": 7168,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
    "n_routed_experts": 256,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 2048,
    "intermediate_size": 18432,
    "n_group": 8,
    "topk_group": 4,
    "scoring_func": "sigmoid",
}
GEMMA3 = {
    "architectures": ["Gemma3ForCausalLM"],
    "model_type": "gemma3_text",
    "num_hidden_layers": 26,
    "hidden_size": 1152,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "intermediate_size": 6912,
    "vocab_size": 262144,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "max_position_embeddings": 32768,
    "sliding_window": 512,
    "layer_types": [*(["sliding_attention"] * 5 + ["full_attention"]) * 4, "sliding_attention", "sliding_attention"],
}
MODELS = {
    "mla": (GLM_FLASH, 4, 1),
    "dense": (LLAMA, 1, 1),
    "moe": (QWEN3_MOE, 2, 1),
    "more ranks than KV heads": (QWEN2_TIED, 4, 1),
    "stages, tied": (QWEN2_TIED, 1, 2),
    "stages of MLA": (GLM_FLASH, 2, 2),
    "dense layers first": (DEEPSEEK, 8, 1),
    "sliding windows": (GEMMA3, 1, 1),
    "fp8": (FP8, 1, 1),
    "awq": (AWQ, 1, 1),
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNFRAG_CACHE", str(tmp_path))


QUICK = ("dense", "mla", "moe")  # each is a process that loads vLLM


@pytest.mark.parametrize(
    ("config", "tp", "pp"),
    [pytest.param(*model, id=name, marks=() if name in QUICK else pytest.mark.slow) for name, model in MODELS.items()],
)
def test_both_back_ends_agree(config, tp, pp):
    found = introspect.ask(config, tp, pp, {"max_model_len": 4096}, 4 << 30)
    assert not isinstance(found, Unknown), found
    shape = architecture.read(config)
    assert weights.per_rank(shape, tp, pp) == pytest.approx(found.weights_bytes, rel=0.01)
    cache = kv.cache(shape, tp, pp, block_tokens=found.layers[0].block_tokens)
    if len(cache.groups) == 1:
        assert cache.token_bytes == found.token_bytes
    assert len(cache.groups) == found.groups
    blocks = cache.blocks(4 << 30)
    assert blocks == found.num_blocks
    concurrency = blocks / cache.blocks_of_request(4096, 2048, shape.sliding_window)
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
