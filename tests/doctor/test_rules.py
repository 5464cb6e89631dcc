"""Each rule speaks on what it is for, at its thresholds, and keeps silent otherwise."""

import pytest

from tests.snapshots import a_pool, a_snapshot
from unfrag.doctor import diagnosis, rules
from unfrag.doctor.probes import series
from unfrag.doctor.probes.log import parse
from unfrag.doctor.rules.thresholds import load_thresholds
from unfrag.doctor.words import pages
from unfrag.errors import UsageError
from unfrag.facts.memory_stats import Rank
from unfrag.facts.snapshot import Gpu, GpuProcess, Gpus, Launch, Metrics

GIB = 2**30
TORCH = (
    "CUDA out of memory. Tried to allocate {asked}. GPU 0 has a total capacity of 79.25 GiB of which {free} is free. "
    "Including non-PyTorch memory, this process has {mine} memory in use. Of the allocated memory {allocated} is "
    "allocated by PyTorch, and {unused} is reserved by PyTorch but unallocated. If reserved but unallocated memory is "
    "large try setting PYTORCH_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
)


def found(**facts):
    findings, _ = diagnosis.judge_all(a_snapshot(**facts), load_thresholds())
    return [finding.cause for finding in findings]


def the_finding(**facts):
    findings, _ = diagnosis.judge_all(a_snapshot(**facts), load_thresholds())
    return findings[0]


def test_nothing_known_is_nothing_said():
    assert diagnosis.judge_all(a_snapshot(), load_thresholds()) == ([], [])


def test_every_rule_that_looked_says_so():
    _, healthy = diagnosis.judge_all(a_snapshot(pool=a_pool(), metrics=Metrics(preemptions=0)), load_thresholds())
    assert len(healthy) == 4


@pytest.mark.parametrize(
    ("free", "largest", "speaks"),
    [
        (142, 30, True),  # the article's confirmed case
        (142, 128, False),  # the article's own healthy output
        (80, 30, True),  # likely: below 50
        (40, 40, False),  # few, but in one piece: full, not fragmented
        (142, 99, False),  # below 100, but most of what is free
        (5000, 99, True),
        (0, 0, False),
    ],
)
def test_pool_fragmentation_wants_the_articles_numbers_and_a_ratio(free, largest, speaks):
    pool = a_pool(free_blocks=free, largest_free_block=largest)
    assert ("pool_fragmentation" in found(pool=pool)) == speaks


def test_pool_fragmentation_is_worth_a_warning_only_where_blocks_travel():
    pool = a_pool(free_blocks=500, largest_free_block=3)
    assert the_finding(pool=pool).severity == "info"
    travelling = Launch("", {"--kv-transfer-config": "{}"}, "test")
    assert the_finding(pool=pool, launch=travelling).severity == "warning"


def torch_oom(asked, free, unused, mine="77.00 GiB", allocated="75.00 GiB", before=""):
    return parse(before + TORCH.format(asked=asked, free=free, unused=unused, mine=mine, allocated=allocated))


def test_allocator_fragmentation_is_proven_by_arithmetic():
    log = torch_oom("1.00 GiB", "900.00 MiB", "1.40 GiB", mine="78.30 GiB", allocated="76.00 GiB")
    assert found(log=log)[0] == "allocator_fragmentation"


def test_pytorchs_hint_alone_proves_nothing():
    log = torch_oom("2.00 GiB", "10.00 MiB", "120.00 MiB", mine="79.20 GiB", allocated="78.00 GiB")
    assert "allocator_fragmentation" not in found(log=log)


def test_the_same_message_with_half_the_card_elsewhere_is_a_foreign_process():
    log = torch_oom("1.00 GiB", "900.00 MiB", "120.00 MiB", mine="40.00 GiB", allocated="39.00 GiB")
    assert found(log=log)[0] == "foreign_process"


START = "INFO 01-01 00:00:00 [api_server.py:1] vLLM API server version 0.11.0\n"
LOADED = "INFO 01-01 00:00:00 [gpu_model_runner.py:1] Model loading took 60.0 GiB memory and 9.1 seconds\n"
SIZED = "INFO 01-01 00:00:00 [gpu_worker.py:1] Available KV cache memory: 10.00 GiB\n"
READY = "INFO:     Application startup complete.\n"


@pytest.mark.parametrize(
    ("before", "cause"),
    [
        (START, "weights_do_not_fit"),
        (START + LOADED + SIZED + "Capturing CUDA graphs (decode): 1/67\n", "cudagraph_memory"),
        (START + LOADED + SIZED + READY, "utilization_too_high"),
        (
            'Traceback (most recent call last):\n  File "/a/v1/worker/gpu_model_runner.py", line 1, in capture_model\n',
            "cudagraph_memory",
        ),
        (READY + '  File "/a/qwen2_vl.py", line 1, in get_image_features\n', "profiling_underestimate"),
        (READY + '  File "/a/fused_moe/modular_kernel.py", line 1, in _fused_experts\n', "moe_workspace"),
    ],
)
def test_the_same_message_means_what_the_server_was_doing(before, cause):
    log = torch_oom("300.00 MiB", "100.00 MiB", "20.00 MiB", mine="79.10 GiB", allocated="77.00 GiB", before=before)
    assert found(log=log)[0] == cause


def test_free_but_failed_is_said_with_doubt():
    finding = the_finding(log=parse("ERROR Free memory: 1.2 GiB, allocation failed"))
    assert finding.cause == "allocator_fragmentation"
    assert finding.confidence < 0.5


def test_an_empty_card_beside_full_ones_is_a_configuration_error():
    cards = tuple(Gpu(i, None, None, 24 * GIB, 22 * GIB if i else 0) for i in range(4))
    assert found(gpus=Gpus(cards, (), "NVML")) == ["gpu_imbalance"]
    even = tuple(Gpu(i, None, None, 24 * GIB, 22 * GIB) for i in range(4))
    assert found(gpus=Gpus(even, (), "NVML")) == []


def test_a_rank_with_more_experts_costs_every_rank_its_kv():
    launch = Launch("", {"--enable-expert-parallel": None, "--tensor-parallel-size": "3"}, "test")
    uneven = a_pool(
        block_size_bytes=1 << 20,
        block_size_tokens=32,
        ranks=tuple(Rank(i, f"cuda:{i}", weights_bytes=int((15.0 if i == 0 else 14.0) * GIB)) for i in range(3)),
    )
    finding = the_finding(pool=uneven, launch=launch)
    assert finding.cause == "expert_imbalance"
    assert "Rank 0" in finding.summary
    assert "32,768 tokens" in finding.summary
    assert found(pool=uneven) == []
    even = a_pool(ranks=tuple(Rank(i, f"cuda:{i}", weights_bytes=14 * GIB) for i in range(3)))
    assert found(pool=even, launch=launch) == []


def test_a_hot_expert_is_said_where_ranks_hold_whole_experts():
    launch = Launch("", {"--enable-expert-parallel": None}, "test")
    assert the_finding(metrics=Metrics(expert_balance=6.5), launch=launch).cause == "expert_imbalance"
    assert found(metrics=Metrics(expert_balance=6.5)) == []
    assert found(metrics=Metrics(expert_balance=1.5), launch=launch) == []


def test_fewer_cards_in_use_than_ranks_are_seen_from_processes_alone():
    gpus = Gpus((), (GpuProcess(1, 12 * GIB, "GPU-a"),), "nvidia-smi")
    assert found(gpus=gpus, launch=Launch("", {"--tensor-parallel-size": "4"}, "test")) == ["gpu_imbalance"]
    assert found(gpus=gpus) == []


def test_a_full_pool_with_a_queue_is_too_small_and_a_busy_one_is_not():
    full = a_pool(gpu_cache_usage=0.99)
    assert "kv_pool_too_small" in found(pool=full, metrics=Metrics(running=9, waiting=4))
    assert "kv_pool_too_small" not in found(pool=full, metrics=Metrics(running=9, waiting=0))
    assert "kv_pool_too_small" not in found(pool=a_pool(), metrics=Metrics(running=9, waiting=4))


def test_preemptions_count_against_what_was_finished():
    assert found(metrics=Metrics(preemptions=30, requests=100)) == ["preemption_thrash"]
    assert found(metrics=Metrics(preemptions=30, requests=10_000)) == []
    assert found(metrics=Metrics(preemptions=2, requests=3)) == []


def test_the_advised_max_num_seqs_comes_from_the_pool():
    finding = the_finding(pool=a_pool(pinned_blocks=800), metrics=Metrics(preemptions=30, requests=100, running=16))
    assert finding.fixes[0].startswith("--max-num-seqs 20 ")


def test_an_engine_that_does_not_step_is_stalled():
    assert found(pool=a_pool(age_seconds=31.0)) == ["engine_stalled"]
    assert found(pool=a_pool(age_seconds=2.0)) == []
    assert found(log=parse("Allocating block for layer 3...\ntimeout waiting for model load")) == ["engine_stalled"]


def test_ids_and_causes_are_unique():
    for values in ([pages.head(r.CAUSE).id for r in rules.RULES], [r.CAUSE for r in rules.RULES]):
        assert len(set(values)) == len(values)
    assert set(load_thresholds()) == {rule.CAUSE for rule in rules.RULES}


def test_own_thresholds_replace_single_values(tmp_path):
    own = tmp_path / "t.toml"
    own.write_text("[engine_stalled]\nage_seconds = 1\n")
    assert load_thresholds(own)["engine_stalled"]["age_seconds"] == 1
    assert load_thresholds(own)["preemption_thrash"]["ratio"] == 0.05
    own.write_text("[engine_stalled]\nage = 1\n")
    with pytest.raises(UsageError, match="has no age"):
        load_thresholds(own)
    own.write_text("[nothing]\nx = 1\n")
    with pytest.raises(UsageError, match="not a rule"):
        load_thresholds(own)


CAME_UP = (
    "INFO 10-07 06:45:22 [core.py:257] init engine (profile, create kv cache, warmup model) took 29.91 seconds\n"
    "INFO:     Application startup complete.\n"
)


@pytest.mark.parametrize(
    "line",
    [
        "[Gloo] Rank 0 is connected to 0 peer ranks. Expected number of connected peer ranks is : 0",
        "Ignore import error when loading sglang.srt.models.midashenglm. No module named 'torchaudio'",
        "WARNING Failed to import from vllm._C with ModuleNotFoundError(\"No module named 'vllm._C'\")",
        "vllm: error: unrecognized arguments: --enable-chunked-prefil",
        "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.",
        "  Device 0: NVIDIA GeForce RTX 4090, compute capability 8.9, VMM: yes",
    ],
)
def test_what_a_server_printed_before_it_came_up_has_not_kept_it_from_it(line):
    assert found(log=parse(START + line + "\n" + CAME_UP)) == []


def test_what_v0_held_before_profiling_are_its_own_weights():
    loaded = "INFO 10-07 06:45:22 model_runner.py:1060] Model loading took 15.0 GiB\n"
    line = (
        "INFO Memory profiling results: total_gpu_memory=79.15GiB initial_memory_usage=15.51GiB "
        "peak_torch_memory=16.19GiB memory_usage_post_profile=15.56GiB non_torch_memory=0.55GiB kv_cache_size=54.0GiB\n"
    )
    assert "foreign_process" not in found(log=parse(START + loaded + line))
    assert "foreign_process" in found(log=parse(START + line.replace("15.51", "45.51")))


def test_nccl_that_gets_no_memory_is_a_matter_of_memory():
    said = "torch.distributed.DistBackendError: NCCL error: ncclUnhandledCudaError: Failed to CUDA calloc 6291456 bytes"
    assert "not_memory" not in found(log=parse(START + said))
    assert "not_memory" in found(
        log=parse(START + said.replace("Failed to CUDA calloc 6291456 bytes", "unhandled error"))
    )


def test_the_size_of_a_machine_is_no_growth():
    assert series.read("I'm running it in a linux server with 32 vCPU and 128 Gib of RAM.") == ()
    assert series.read("RAM of 2x GPUs 64 GiB") == ()
    assert series.read("RSS GiB: start 6.00, +12h 6.57, +24h 7.10")


def test_a_card_that_fell_off_the_bus_goes_before_the_ranks_that_waited_for_it():
    log = (
        "NVRM: Xid (PCI:0000:41:00): 79, pid=1234, GPU has fallen off the bus.\n"
        "[rank0]: Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7, OpType=ALLREDUCE) ran for 600001 "
        "milliseconds before timing out.\n"
    )
    assert found(log=parse(log))[:2] == ["not_memory", "nccl_hang"]


def test_a_server_that_starts_is_not_said_to_hang():
    finding = the_finding(log=parse(START + "INFO 01-01 00:00:01 [pynccl.py:103] vLLM is using nccl==2.27.3\n"))
    assert (finding.cause, finding.certainty, finding.severity) == ("nccl_hang", "possible", "warning")
