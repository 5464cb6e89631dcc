"""What a comparison comes to in a sentence: never more than the spread of the repeats allows."""

from tests.bench.test_result import repeat, result
from unfrag.bench.compare import compare
from unfrag.bench.meter import Meter
from unfrag.bench.verdict import verdicts


def verdict(*results):
    return verdicts(list(results), compare(list(results)))[0]


def test_what_lies_apart_is_better_or_worse():
    before = result("A", repeat([4.0] * 4), repeat([4.2] * 4), held=20)
    after = result("B", repeat([2.0] * 4), repeat([2.2] * 4), held=10)
    found = verdict(before, after)
    assert "TTFT P95 -49%" in found.better
    assert found.worse == ("maximum concurrency -50%",)
    assert found.sentence.startswith("B is better in part than A: TTFT P50 -49%")
    assert "worse: maximum concurrency -50%" in found.sentence


def test_what_overlaps_is_no_difference():
    before = result("A", repeat([4.0] * 4), repeat([5.0] * 4), held=20)
    after = result("B", repeat([3.0] * 4), repeat([4.5] * 4), held=21)
    found = verdict(before, after)
    assert (found.better, found.worse) == ((), ())
    assert "TTFT P95" in found.within
    assert "maximum concurrency" in found.within
    assert found.sentence == "B: no difference to A beyond the spread of the repeats"


def test_one_pass_decides_nothing():
    found = verdict(result("A", repeat([4.0] * 4)), result("B", repeat([1.0] * 4)))
    assert not found.decides
    assert "TTFT" not in found.sentence
    assert "--repeats 3" in found.sentence


def test_failures_that_were_none_before_are_worse():
    before = result("A", repeat([4.0] * 4), repeat([4.0] * 4))
    after = result("B", repeat([4.0] * 4, failed=2), repeat([4.0] * 4, failed=3))
    found = verdict(before, after)
    assert "failed requests 0 to 2.5" in found.worse
    assert "B is worse than A" in found.sentence


def test_the_time_that_is_left_is_counted_by_requests():
    now, told = [0.0], []
    meter = Meter(passes=300, level=0, tell=told.append, clock=lambda: now[0])
    meter.begin("pass 1 of 3", 100)
    assert told[-1].left == ""
    now[0] = 60.0
    step = meter.end("pass 1 of 3")
    assert (step.done, step.total, step.seconds_left, step.left) == (100, 300, 120.0, "about 2 min left")


def test_a_search_counts_levels_that_it_may_still_try():
    now = [0.0]
    meter = Meter(passes=10, level=10, tell=lambda step: None, clock=lambda: now[0])
    meter.begin("pass 1 of 1", 10)
    now[0] = 10.0
    assert meter.end("pass 1 of 1").seconds_left == 60.0
    meter.begin("4 in flight", 8, searching=True)
    now[0] = 18.0
    assert meter.end("4 in flight").seconds_left == 50.0
