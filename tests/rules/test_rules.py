"""Each rule speaks on what it is for, at its thresholds, and keeps silent otherwise."""

import pytest

from tests.snapshots import a_pool, a_snapshot
from unfrag import rules
from unfrag.errors import UsageError
from unfrag.facts import Gpu, GpuProcess, Gpus, Launch, Metrics
from unfrag.probes.log import parse

GIB = 2**30
TORCH = (
    "CUDA out of memory. Tried to allocate {asked}. GPU 0 has {free} free. "
    "{unused} is reserved by PyTorch but unallocated"
)


def found(**facts):
    findings, _ = rules.judge_all(a_snapshot(**facts), rules.load_thresholds())
    return [finding.cause for finding in findings]


def the_finding(**facts):
    findings, _ = rules.judge_all(a_snapshot(**facts), rules.load_thresholds())
    return findings[0]


def test_nothing_known_is_nothing_said():
    assert rules.judge_all(a_snapshot(), rules.load_thresholds()) == ([], [])


def test_every_rule_that_looked_says_so():
    _, healthy = rules.judge_all(a_snapshot(pool=a_pool(), metrics=Metrics(preemptions=0)), rules.load_thresholds())
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


def torch_oom(asked, free, unused):
    return parse([TORCH.format(asked=asked, free=free, unused=unused)])


def test_allocator_fragmentation_is_proven_by_arithmetic():
    assert found(log=torch_oom("384.00 MiB", "of which 10.00 MiB is", "1.40 GiB")) == ["allocator_fragmentation"]


def test_pytorchs_hint_alone_proves_nothing():
    hint = " If reserved but unallocated memory is large try setting PYTORCH_ALLOC_CONF=expandable_segments:True"
    log = parse([TORCH.format(asked="2.00 GiB", free="of which 10.00 MiB is", unused="120.00 MiB") + hint])
    assert found(log=log) == []


def test_free_but_failed_is_said_with_doubt():
    finding = the_finding(log=parse(["ERROR Free memory: 1.2 GiB, allocation failed"]))
    assert finding.cause == "allocator_fragmentation"
    assert finding.confidence < 0.5


def test_an_empty_card_beside_full_ones_is_a_configuration_error():
    cards = tuple(Gpu(i, None, None, 24 * GIB, 22 * GIB if i else 0) for i in range(4))
    assert found(gpus=Gpus(cards, (), "NVML")) == ["gpu_imbalance"]
    even = tuple(Gpu(i, None, None, 24 * GIB, 22 * GIB) for i in range(4))
    assert found(gpus=Gpus(even, (), "NVML")) == []


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


def test_the_advised_seats_come_from_the_pool():
    finding = the_finding(pool=a_pool(pinned_blocks=800), metrics=Metrics(preemptions=30, requests=100, running=16))
    assert finding.fixes[0].startswith("--max-num-seqs 20 ")


def test_an_engine_that_does_not_step_is_stalled():
    assert found(pool=a_pool(age_seconds=31.0)) == ["engine_stalled"]
    assert found(pool=a_pool(age_seconds=2.0)) == []
    assert found(log=parse(["Allocating block for layer 3...", "timeout waiting for model load"])) == ["engine_stalled"]


def test_ids_and_causes_are_unique():
    for values in ([r.ID for r in rules.RULES], [r.CAUSE for r in rules.RULES]):
        assert len(set(values)) == len(values)
    assert set(rules.load_thresholds()) == {rule.CAUSE for rule in rules.RULES}


def test_own_thresholds_replace_single_values(tmp_path):
    own = tmp_path / "t.toml"
    own.write_text("[engine_stalled]\nage_seconds = 1\n")
    assert rules.load_thresholds(own)["engine_stalled"]["age_seconds"] == 1
    assert rules.load_thresholds(own)["preemption_thrash"]["ratio"] == 0.05
    own.write_text("[engine_stalled]\nage = 1\n")
    with pytest.raises(UsageError, match="has no age"):
        rules.load_thresholds(own)
    own.write_text("[nothing]\nx = 1\n")
    with pytest.raises(UsageError, match="not a rule"):
        rules.load_thresholds(own)
