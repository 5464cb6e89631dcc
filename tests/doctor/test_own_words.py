"""What a program's message advises itself is said; the sentence that stands in every message is not."""

import pytest

from unfrag.doctor import collect, diagnosis
from unfrag.doctor.probes.log.advice import AT_MOST, advised
from unfrag.doctor.rules.thresholds import load_thresholds


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (
            "Try increasing `gpu_memory_utilization` or decreasing `max_model_len`.",
            ("--gpu-memory-utilization", "--max-model-len"),
        ),
        ("You need to specify --dtype half explicitly", ("--dtype",)),
        (
            "Please raise SGLANG_DEEPEP_NUM_MAX_DISPATCH_TOKENS_PER_RANK",
            ("SGLANG_DEEPEP_NUM_MAX_DISPATCH_TOKENS_PER_RANK",),
        ),
        ("increase the shared memory of the container with --shm-size", ("--shm-size",)),
        (
            "If it is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True",
            (),
        ),
        ("For debugging consider passing CUDA_LAUNCH_BLOCKING=1", ()),
        ("args: Namespace(max_model_len=8192)", ()),
    ],
)
def test_names_behind_a_verb(text, names):
    assert advised(text) == names


def test_no_more_than_a_few():
    assert len(advised(" ".join(f"try --flag-{chr(97 + n)}-x." for n in range(20)))) == AT_MOST


def test_it_is_said_with_the_best_finding_before_what_decides(tmp_path):
    (tmp_path / "log.txt").write_text(
        "RuntimeError: DataLoader worker is killed by signal: Bus error. Please use --shm-size to give it more.\n"
        "ValueError: dispatch buffer too small, please raise SGLANG_DISPATCH_TOKENS_PER_RANK\n"
    )
    best = diagnosis.diagnose(collect.evidence(tmp_path), load_thresholds()).findings[0]
    lines = [fix for fix in best.fixes if fix.startswith("the message itself names ")]
    assert len(lines) == 1
    assert "SGLANG_DISPATCH_TOKENS_PER_RANK" in lines[0]
    assert sum("--shm-size" in fix for fix in best.fixes) == 1


def test_a_launch_line_advises_nothing(tmp_path):
    (tmp_path / "log.txt").write_text("The server hangs after an hour of load, all_reduce never returns\n")
    (tmp_path / "launch.txt").write_text("use: vllm serve m --max-model-len 8192 --tensor-parallel-size 2\n")
    found = diagnosis.diagnose(collect.evidence(tmp_path), load_thresholds()).findings
    assert not [fix for finding in found for fix in finding.fixes if fix.startswith("the message itself names")]
