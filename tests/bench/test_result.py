import pytest
from hypothesis import given
from hypothesis import strategies as st

from unfrag.bench.compare import compare
from unfrag.bench.load import RequestResult
from unfrag.bench.result import MaxConcurrency, Result, percentile, read_result, summarise
from unfrag.bench.run import max_concurrency
from unfrag.errors import UsageError


def request(start=0.0, end=2.0, ttft=1.0, ok=True):
    return RequestResult(ok, start, end, ttft, 0.01, end - start, 100, 10, None if ok else "500")


def repeat(ttfts, failed=0, preempted=0):
    requests = [request(ttft=t) for t in ttfts] + [request(ok=False) for _ in range(failed)]
    return summarise(requests, [], preempted, None)


def result(label, *repeats, held=None):
    found = (MaxConcurrency(held, 4.0, False, ()),) if held else ()
    return Result(label, "url", "0.32.0", None, "w", 8, repeats, found)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_percentiles_are_ordered_and_inside(values):
    p50, p95, p99 = (percentile(values, rank) for rank in (50, 95, 99))
    slack = 1e-9 * max(values)
    assert min(values) - slack <= p50 <= p95 + slack <= p99 + 2 * slack <= max(values) + 3 * slack


def test_failed_requests_count_as_failed_and_never_as_fast():
    seen = repeat([1.0, 1.0, 1.0], failed=2)
    assert (seen.requests, seen.failed, seen.ttft_p95) == (5, 2, 1.0)
    assert seen.errors == ("500",)
    assert seen.tokens_per_second == pytest.approx(330 / 2)


def test_nothing_measured_is_none():
    seen = summarise([], [], None, None)
    assert (seen.ttft_p50, seen.preempted, seen.kv_usage_mean) == (None, None, None)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("start", [1, 8, 40, 300])
@pytest.mark.parametrize("truth", [0, 1, 5, 12, 33, 250, 999])
def test_the_search_finds_what_holds(truth, start, known):
    asked = []

    def attempt(level):
        asked.append(level)
        return repeat([0.1] * 4) if level <= truth else repeat([0.1] * 4, preempted=1)

    found = max_concurrency(attempt, ttft_limit=1.0, start=start, ceiling=256, known=known)
    expected = min(truth, 256)
    assert found.value <= expected
    assert expected - found.value <= max(1, expected * 0.0625)
    assert found.at_ceiling == (truth >= 256)
    assert len(set(asked)) == len(asked), "a level was asked twice"
    assert all(1 <= level <= 256 for level in asked)


def test_what_stops_the_search_is_said():
    slow = max_concurrency(lambda level: repeat([9.0]), 1.0, 4, 8)
    assert slow.value == 0
    assert slow.trials[0].why == "P95 TTFT 9.00 s"
    assert max_concurrency(lambda level: repeat([0.1], failed=3), 1.0, 4, 8).trials[0].why == "3 failed"


def test_compare_gives_medians_spread_and_change():
    rows = compare(
        [
            result("A", repeat([4.0] * 9), repeat([5.0] * 9), repeat([6.0] * 9), held=10),
            result("C", repeat([1.0] * 9), repeat([2.0] * 9), held=25),
        ]
    )
    by_name = {row.name: row for row in rows}
    before, after = by_name["TTFT P95"].cells
    assert (before.median, before.low, before.high, before.change) == (5.0, 4.0, 6.0, None)
    assert (after.median, after.change) == (1.5, pytest.approx(-0.7))
    assert by_name["maximum concurrency"].cells[1].change == pytest.approx(1.5)
    assert by_name["failed requests"].cells[1].change is None


def test_a_result_survives_the_disk(tmp_path):
    path = tmp_path / "a.json"
    written = result("A", repeat([1.0, 2.0]), held=3)
    written.write(path)
    assert read_result(path) == written
    path.write_text('{"label": 1}')
    with pytest.raises(UsageError, match="not a result"):
        read_result(path)
    with pytest.raises(UsageError, match="No such file"):
        read_result(tmp_path / "none.json")
