"""Advice that would change nothing, or cannot be followed, is not printed."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unfrag.doctor import collect, diagnosis
from unfrag.doctor.rules.thresholds import load_thresholds

OOM = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 224.00 MiB (GPU 0; 10.73 GiB total capacity; "
    "9.85 GiB already allocated; 46.44 MiB free; 9.86 GiB reserved in total by PyTorch)\n"
)
FULL = "ValueError: No available memory for the cache blocks. Try increasing gpu_memory_utilization\n"
FLAGS = st.fixed_dictionaries(
    {},
    optional={
        "--tensor-parallel-size": st.sampled_from(["1", "2", "4"]),
        "--gpu-memory-utilization": st.sampled_from(["0.25", "0.5", "0.9", "0.95", "0.98"]),
        "--kv-cache-dtype": st.sampled_from(["auto", "fp8", "nvfp4"]),
        "--quantization": st.sampled_from(["awq", "fp8"]),
        "--max-model-len": st.sampled_from(["1024", "32768"]),
        "--max-num-seqs": st.sampled_from(["1", "256"]),
        "--max-num-batched-tokens": st.sampled_from(["512", "8192"]),
        "--kv-cache-memory-bytes": st.just("4294967296"),
    },
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("evidence")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FLAGS, st.integers(1, 4), st.sampled_from([OOM, FULL, FULL + OOM]))
def test_no_advice_repeats_what_is_given_or_wants_more_cards_than_there_are(folder, flags, cards, log):
    (folder / "log.txt").write_text(log)
    (folder / "launch.txt").write_text("vllm serve some/model " + " ".join(f"{k} {v}" for k, v in flags.items()))
    (folder / "context.json").write_text(json.dumps({"engine": "vllm", "gpus": f"{cards}x RTX 2080 Ti 11GB"}))
    for finding in diagnosis.diagnose(collect.evidence(folder), load_thresholds()).findings:
        for change in finding.changes:
            assert 0 <= change.fix < len(finding.fixes)
            if change.unset:
                continue
            assert flags.get(change.flag) != change.value or change.value is None
            if change.flag == "--gpu-memory-utilization":
                assert "--kv-cache-memory-bytes" not in flags
                assert float(change.value) >= 0.3
            if change.flag == "--kv-cache-dtype":
                assert flags.get("--kv-cache-dtype") not in ("fp8", "nvfp4")
            if change.flag == "--tensor-parallel-size":
                assert int(change.value) <= cards
