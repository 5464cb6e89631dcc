"""Fuzzers: whatever stands in a configuration, a compose file, an ini or an answer, it is refused or taken."""

from __future__ import annotations

import contextlib
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.makers import MODEL
from tests.snapshots import a_snapshot
from unfrag.doctor import diagnosis, ledger
from unfrag.doctor.rules.thresholds import load_thresholds
from unfrag.errors import UnfragError
from unfrag.facts.memory_stats import Pool
from unfrag.facts.values import Unknown
from unfrag.launchers.compose.service import ComposeService, yaml_file
from unfrag.launchers.supervisor import ini
from unfrag.plan import architecture, cards, flags, search, workload
from unfrag.plan.estimate import Choice
from unfrag.server import health
from unfrag.system.decode import decoded

QUICK = settings(max_examples=150, suppress_health_check=list(HealthCheck))
NUMBERS = (
    st.integers() | st.sampled_from([0, 1, 2, 7, 8, 64, 2**31, 2**40, 2**63, 2**70, -1]) | st.floats() | st.booleans()
)
VALUES = st.recursive(
    NUMBERS
    | st.none()
    | st.text(max_size=8)
    | st.sampled_from(["fp8", "mamba", "sliding_attention", "full", "[/red]"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        *MODEL,
        *(alias for names in architecture._ALIASES.values() for alias in names),
        *("layer_types", "layers_block_type", "hybrid_override_pattern", "full_attention_interval", "head_dim"),
        *("sliding_window_pattern", "multi_query", "num_experts_per_tok", "moe_intermediate_size", "n_shared_experts"),
        *("first_k_dense_replace", "interleave_moe_layer_step", "kv_lora_rank", "qk_rope_head_dim", "q_lora_rank"),
        *("qk_nope_head_dim", "v_head_dim", "index_head_dim", "indexer_full_layers", "index_n_heads", "text_config"),
        *("quantization_config", "tie_word_embeddings", "num_nextn_predict_layers", "mamba_ssm_cache_dtype"),
        *("linear_num_key_heads", "linear_num_value_heads", "linear_key_head_dim", "linear_conv_kernel_dim"),
        *("mamba_num_heads", "mamba_head_dim", "ssm_state_size", "n_groups", "conv_kernel", "attn_output_gate"),
    ]
)
TYPES = st.sampled_from(
    [
        "llama",
        "qwen3_next",
        "deepseek_v3",
        "deepseek_v32",
        "gpt_oss",
        "nemotron_h",
        "glm4_moe_lite",
        "kimi_k2",
        "gemma3",
        "x",
    ]
)
LISTS = st.lists(
    st.sampled_from(["full_attention", "sliding_attention", "mamba", "linear_attention", "mlp"]), max_size=9
)


@QUICK
@given(TYPES, st.dictionaries(FIELDS, VALUES | LISTS, max_size=8), st.sampled_from([1, 2, 8, 64]))
def test_any_configuration_is_planned_or_refused(kind, more, count):
    ask = search.Ask(cards.named("H100", None), count, (99,), True, True, workload.Workload(prompt=100, output=9))
    with contextlib.suppress(UnfragError):
        shape = architecture.read({**MODEL, "model_type": kind, **more})
        plan = search.with_max_num_seqs(shape, search.best(shape, Choice(), ask)[0], ask)
        mended = search.mend(shape, plan, ask) if not plan.estimate.fits else None
        flags.flags(shape, mended[0] if mended else plan, ask)


YAML_PARTS = (
    *(
        "services:",
        "vllm:",
        "command:",
        " ",
        "\n",
        "  ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "&a ",
        "*a",
        "<<: ",
        "? ",
        "|",
        ": ",
    ),
    *(
        "!!int ",
        "!!set ",
        "!!binary ",
        "!x ",
        "'",
        '"',
        "---\n",
        "%TAG ! x\n",
        "#",
        "a",
        "1e9",
        "2001-01-01",
        "\t",
        ">-",
    ),
)
YAML = st.lists(st.sampled_from(YAML_PARTS), max_size=40).map("".join)


@QUICK
@given(YAML)
def test_any_yaml_is_read_or_refused(text):
    for keep_form in (False, True):
        with contextlib.suppress(UnfragError):
            yaml_file.load(text, "x", keep_form)


@QUICK
@given(VALUES, VALUES, VALUES)
def test_any_service_is_read_or_refused(tmp_path, command, ports, restart):
    path = tmp_path / "docker-compose.yml"
    service = {"command": command, "ports": ports, "restart": restart}
    path.write_text(json.dumps({"services": {"vllm": service}}), "utf-8", "surrogatepass")
    launcher = ComposeService(path, "vllm")
    with contextlib.suppress(UnfragError):
        launcher.read()
        launcher.warnings()


INI = st.lists(
    st.sampled_from(
        [
            "[program:p]",
            "[include]",
            "command",
            "=",
            ":",
            "\n",
            "  ",
            ";",
            "#",
            "a",
            "%(x)s",
            "[",
            "]",
            "files",
            "\0",
            "\r",
            "'",
        ]
    ),
    max_size=40,
).map("".join)


@QUICK
@given(INI)
def test_any_ini_is_read_or_refused(text):
    with contextlib.suppress(UnfragError):
        ini.find_command(text, "p")
    ini.options(text, "program:p")


POOL = ["gpu_cache_usage", "free_blocks", "largest_free_block", *Pool.__struct_fields__]
RANK = [
    "rank",
    "device",
    "total_bytes",
    "allocated_bytes",
    "reserved_bytes",
    "weights_bytes",
    "non_torch_bytes",
    "resident_bytes",
]
GOOD = {"gpu_cache_usage": 0.5, "free_blocks": 9, "largest_free_block": 9}


@QUICK
@given(
    st.dictionaries(st.sampled_from(POOL), VALUES | st.integers(0, 2**53), max_size=6),
    st.lists(st.dictionaries(st.sampled_from(RANK), NUMBERS, max_size=8), max_size=3),
)
def test_any_answer_of_health_is_judged(more, ranks):
    good = [{"rank": number, "device": "x", **rank} for number, rank in enumerate(ranks)]
    body = json.dumps({"memory_stats": {**GOOD, **more, "ranks": good}}).encode("utf-8", "replace")
    found = health.parse(body)
    snapshot = a_snapshot(pool=found)
    diagnosis.diagnose(snapshot, load_thresholds())
    for card in ledger.build(snapshot) or ():
        assert sum(line.bytes for line in card.lines) == card.total_bytes


@QUICK
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_are_json_or_refused(content):
    with contextlib.suppress(UnfragError):
        assert not isinstance(decoded(content, "x"), Unknown)
