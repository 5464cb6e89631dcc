"""Whatever is known, the lines add up to the card."""

from hypothesis import given
from hypothesis import strategies as st

from tests.snapshots import a_pool, a_snapshot
from unfrag.doctor import ledger
from unfrag.facts.memory_stats import Rank
from unfrag.facts.snapshot import Gpu, GpuProcess, Gpus
from unfrag.facts.values import Unknown

GIB = 2**30
sizes = st.integers(0, 200 * GIB)


def adds_up(cards):
    return all(sum(line.bytes for line in card.lines) == card.total_bytes for card in cards)


@given(sizes, sizes, sizes, sizes, sizes)
def test_a_card_adds_up(total, allocated, reserved, non_torch, weights):
    rank = Rank(0, "cuda:0", total, allocated, reserved, 0, 0, non_torch, weights, 0)
    cards = ledger.build(a_snapshot(pool=a_pool(ranks=(rank,))))
    assert not isinstance(cards, Unknown)
    assert adds_up(cards)


@given(sizes, sizes)
def test_a_cpu_rank_adds_up_to_its_process(weights, resident):
    rank = Rank(0, "cpu", weights_bytes=weights, resident_bytes=resident)
    (card,) = ledger.build(a_snapshot(pool=a_pool(ranks=(rank,))))
    assert adds_up([card])
    assert [line.what for line in card.lines][:4] == ["weights", "KV pinned", "KV cached", "KV empty"]


@given(sizes, sizes, st.lists(st.none() | sizes, max_size=4))
def test_nvidia_smi_adds_up_with_what_it_does_not_explain(total, used, held):
    processes = tuple(GpuProcess(i, size, "GPU-1") for i, size in enumerate(held))
    cards = ledger.build(a_snapshot(gpus=Gpus((Gpu(0, "GPU-1", None, total, used),), processes, "nvidia-smi")))
    assert not isinstance(cards, Unknown)
    assert adds_up(cards)


def test_nothing_known_is_unknown_and_not_an_empty_card():
    assert isinstance(ledger.build(a_snapshot()), Unknown)
    assert isinstance(ledger.build(a_snapshot(pool=a_pool(ranks=(Rank(0, "cpu"),)))), Unknown)
