"""The planner against real start-ups, and against what cannot be."""

from __future__ import annotations

import collections
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unfrag import cli
from unfrag.errors import NotEnoughEvidence, UnfragError
from unfrag.plan import architecture, cards, estimate, kv, search, weights, workload

GIB = 2**30
MEASURES = {
    "kv": ("kv_tokens", "kv_needed_gib_for_max_len", "max_concurrency"),
    "weights": ("weights_gib_per_gpu",),
    "available": ("available_kv_gib",),
    "fits": ("fits",),
}
SHARED = Path(__file__).parents[3] / "shared" / "cases" / "planner.jsonl"
GLM_FLASH = {
    "architectures": ["Glm4MoeLiteForCausalLM"],
    "model_type": "glm4_moe_lite",
    "num_hidden_layers": 47,
    "hidden_size": 2048,
    "num_attention_heads": 20,
    "num_key_value_heads": 20,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 192,
    "v_head_dim": 256,
    "q_lora_rank": 768,
    "n_routed_experts": 64,
    "num_experts_per_tok": 4,
    "moe_intermediate_size": 1536,
    "intermediate_size": 10240,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "vocab_size": 154880,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "max_position_embeddings": 202752,
}
LLAMA_8B = {
    "model_type": "llama",
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "max_position_embeddings": 131072,
}


def plan(capsys, tmp_path, config, *flags):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    code = cli.main(["plan", "--config", str(path), *flags, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_glm_flash_on_four_4090s(capsys, tmp_path):
    """vLLM's own introspection says 14.14 GiB and 54,144 B; MLA's absorbed projections come on top when it loads."""
    flags = ("--gpu", "RTX 4090 D", "--gpu-count", "4", "--max-model-len", "4096")
    code, found = plan(capsys, tmp_path, GLM_FLASH, *flags)
    assert code == 0
    assert found["per_rank"]["weights_bytes"] / GIB == pytest.approx(14.14, rel=0.01)
    shape = architecture.read(GLM_FLASH)
    assert kv.cache(shape, 4).token_bytes == 54_144
    _, article = plan(capsys, tmp_path, GLM_FLASH, *flags, "--tp", "4", "--block-size", "32", "--max-num-seqs", "256")
    assert article["per_rank"]["kv_bytes_per_token"] == 54_144
    assert found["max_concurrency"] >= 2 * article["max_concurrency"]
    assert any(flag["flag"] == "--decode-context-parallel-size" for flag in found["flags"])


def test_what_it_prints_is_the_fixed_interface(capsys, tmp_path):
    _, found = plan(capsys, tmp_path, LLAMA_8B, "--gpu", "NVIDIA H100 80GB HBM3")
    assert {"schema_version", "fits", "reason", "per_rank", "kv_tokens", "num_blocks", "max_concurrency"} <= set(found)
    assert {"weights_bytes", "kv_bytes_per_token", "kv_cache_bytes", "activation_bytes"} <= set(found["per_rank"])
    assert all({"flag", "value", "why"} <= set(flag) for flag in found["flags"])
    assert found["command"].startswith("vllm serve ")
    assert found["fits"] is True


def test_a_model_too_large_does_not_fit(capsys, tmp_path):
    large = {**LLAMA_8B, "num_hidden_layers": 320, "max_position_embeddings": 8192}
    code, found = plan(capsys, tmp_path, large, "--gpu", "A10")
    assert (code, found["fits"]) == (1, False)
    assert "weights of" in found["reason"]


def test_quantised_keys_are_chosen_only_when_allowed(capsys, tmp_path):
    _, found = plan(capsys, tmp_path, LLAMA_8B, "--gpu", "L40S")
    assert not any(flag["flag"] == "--kv-cache-dtype" for flag in found["flags"])
    _, allowed = plan(capsys, tmp_path, LLAMA_8B, "--gpu", "L40S", "--allow-kv-quantization")
    (flag,) = [flag for flag in allowed["flags"] if flag["flag"] == "--kv-cache-dtype"]
    assert flag["value"] == "fp8"
    assert "quality" in flag["cost"]
    assert allowed["max_concurrency"] == pytest.approx(2 * found["max_concurrency"], rel=0.01)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--gpu", "H100", "--gpu-count", "3", "--tp", "3"), "divisible by tensor parallel size"),
        (("--gpu", "H100", "--tp", "2"), "needs 2 cards"),
        (("--gpu", "Quantum 9000"), "--gpu-memory"),
        ((), "--gpu NAME"),
        (("--gpu-memory", "0.1"), "no size"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(capsys, tmp_path, flags, said):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA_8B))
    assert cli.main(["plan", "--config", str(path), *flags]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ('{"model_type": "bert", "num_hidden_layers": 12}', 3),
        ("{}", 3),
        ("[]", 3),
        ("nonsense", 2),
        ('{"num_hidden_layers": -3}', 3),
    ],
)
def test_a_config_that_is_no_model(capsys, tmp_path, content, code):
    path = tmp_path / "config.json"
    path.write_text(content)
    assert cli.main(["plan", "--config", str(path), "--gpu", "H100"]) == code
    assert capsys.readouterr().err.count("\n") == 1


def test_gemmas_class_defaults_are_counted_with():
    """The hub's config of Gemma 3 leaves out its layer types, its context and that its embeddings are tied."""
    said = {"num_hidden_layers": 62, "hidden_size": 5376, "num_attention_heads": 32, "num_key_value_heads": 16}
    shape = architecture.read(
        {"model_type": "gemma3", "text_config": {**said, "head_dim": 128, "sliding_window": 1024}}
    )
    assert shape.layers == {"full": 10, "sliding": 52}
    assert (shape.longest, shape.tied) == (131_072, True)


def test_a_partial_config_says_what_it_assumed(capsys, tmp_path):
    partial = {"model_type": "qwen3_5_text", "num_hidden_layers": 32, "num_key_value_heads": 4, "head_dim": 256}
    partial["layer_types"] = {"linear_attention": 24, "full_attention": 8}
    code, found = plan(capsys, tmp_path, partial, "--gpu", "5090", "--gpu-count", "2", "--tp", "2")
    assert code == 0
    assert found["fits"] is None
    assert found["per_rank"]["weights_bytes"] is None
    assert found["per_rank"]["kv_bytes_per_token"] == pytest.approx(65_580, rel=0.03)
    assert any("linear_num_value_heads=32" in note for note in found["notes"])


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-5, 2**45)
    | st.floats(allow_nan=True)
    | st.text(max_size=8)
    | st.lists(st.integers(), max_size=3)
)


@given(st.dictionaries(st.sampled_from([*GLM_FLASH, "layer_types", "text_config", "quantization_config"]), VALUES))
def test_no_config_breaks_it(changes):
    for base in (GLM_FLASH, LLAMA_8B):
        try:
            shape = architecture.read({**base, **changes})
            search.best(
                shape, estimate.Choice(tp=4), search.Ask(cards.known()[0], 4, (99,), True, True, workload.Workload())
            )
        except UnfragError:
            continue


@pytest.fixture(scope="module")
def cases():
    if not SHARED.exists():
        pytest.skip("these cases are not part of the repository")
    read = [json.loads(line) for line in SHARED.read_text().splitlines()]
    for case in read:  # a measure that was not logged, or that its label cannot carry
        case["observed"] = collections.defaultdict(lambda: None, case["observed"])
        for measure in case.get("skip") or ():
            case["observed"] |= dict.fromkeys(MEASURES[measure])
    return read


def _shape(case):
    try:
        return architecture.read(case["config"])
    except NotEnoughEvidence:
        return None


def _cache(case, shape):
    dcp = (case.get("extra") or {}).get("decode_context_parallel", 1)
    version = kv.version_of(case["engine_version"])
    parts = (case["tp"] or 1, case["pp"] or 1, dcp, case["kv_cache_dtype"], case["block_size"], version)
    return kv.cache(shape, *parts, case["gpu"] or "")


def test_kv_of_real_start_ups(cases):
    """Bytes of a token within 3%; where layers are unlike, concurrency within 5% at the observed bytes."""
    right, judged = [], []
    for case in cases:
        seen, shape = case["observed"], _shape(case)
        cache = _cache(case, shape) if shape else None
        observed = None
        if seen["kv_tokens"] and seen["available_kv_gib"]:
            observed = seen["available_kv_gib"] * GIB / seen["kv_tokens"]
        elif seen["kv_needed_gib_for_max_len"] and case["max_model_len"]:
            observed = seen["kv_needed_gib_for_max_len"] * GIB / case["max_model_len"]
        if observed is None or case["id"].startswith(("glm53-flash", "db-deepseek-v4")):
            continue  # no config, or a layout that no rule explains
        judged.append(case["id"])
        if cache is None:
            continue
        if len(cache.groups) > 1 and seen["max_concurrency"]:
            blocks = cache.blocks(seen["available_kv_gib"] * GIB)
            held = blocks / cache.blocks_of_request(case["max_model_len"], 8192, shape.sliding_window)
            good = held == pytest.approx(seen["max_concurrency"], rel=0.05)
        else:
            good = cache.token_bytes == pytest.approx(observed, rel=0.03)
        right += [case["id"]] if good else []
    assert len(judged) >= 18
    # Half of the cases are start-ups of 2026: Gemma 4's shared layers and drafts' state are not counted right yet.
    assert len(right) >= 0.85 * len(judged), set(judged) - set(right)


def test_weights_of_real_start_ups(cases):
    right, judged = [], []
    for case in cases:
        seen, shape = case["observed"]["weights_gib_per_gpu"], _shape(case)
        if not seen or shape is None or shape.vocab is None or shape.hidden is None:
            continue
        judged.append(case["id"])
        held = weights.per_rank(shape, case["tp"] or 1, case["pp"] or 1, case["quantization"], case["dtype"])
        right += [case["id"]] if held and held / GIB == pytest.approx(seen, rel=0.05) else []
    assert len(judged) >= 14
    # Mixed-precision checkpoints of 2026 are not counted module by module yet.
    assert len(right) >= 0.82 * len(judged), set(judged) - set(right)


def test_start_ups_that_failed_and_that_worked(cases):
    wrong = []
    for case in cases:
        fits, shape = case["observed"]["fits"], _shape(case)
        card = cards.find(case["gpu"] or "")
        tuned = fits and case["gpu_memory_utilization"] is None  # it fits with a utilisation that nobody wrote down
        if fits is None or shape is None or card is None or tuned:
            continue
        choice = estimate.Choice(
            tp=case["tp"] or 1,
            dcp=(case.get("extra") or {}).get("decode_context_parallel", 1),
            quantization=case["quantization"],
            dtype=case["dtype"],
            kv_dtype=case["kv_cache_dtype"],
            utilization=case["gpu_memory_utilization"],
            max_model_len=case["max_model_len"],
            max_num_seqs=case["max_num_seqs"],
        )
        found = estimate.estimate(shape, card, case["num_gpus"] or 1, choice, kv.version_of(case["engine_version"]))
        if found.fits is not None and found.fits != fits:
            wrong.append((case["id"], found.fits, found.reason))
    assert wrong == []
