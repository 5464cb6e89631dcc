"""The guard's decisions on made-up time: what is done, when, and what never is."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unfrag.guard.policy import Look, Policy, State, decide, unfinished

POLICY = Policy()


class Server:
    """A fake clock and the looks at one server; what was decided, with its second."""

    def __init__(self, policy=POLICY, **ordinary):
        self.policy, self.now, self.state = policy, 0.0, State()
        self.ordinary = {"answers": "ok", "launcher": "RUNNING", "pid": 1, "age": 0.1, "memory": 0.92, **ordinary}
        self.ordinary = {"free_blocks": 4000, "largest_free_block": 3000, **self.ordinary}
        self.done = []

    def run(self, seconds, quiet=False, **seen):
        """So many seconds of the same; the actions that were decided in them."""
        begun, end = len(self.done), self.now + seconds
        while self.now < end:
            self.now += self.policy.interval
            look = Look(self.now, **{**self.ordinary, **seen})
            decision, self.state = decide(look, self.state, self.policy, quiet)
            if decision.action != "none":
                self.done.append((self.now, decision.action, decision.rule))
        return [(action, rule) for _, action, rule in self.done[begun:]]


def test_nothing_is_done_to_a_healthy_server():
    assert Server().run(86400) == []


@pytest.mark.parametrize(
    ("seen", "after", "what"),
    [
        ({"launcher": "STOPPED", "answers": "refused"}, 20, "restart"),
        ({"launcher": None, "answers": "refused"}, 20, "restart"),
        ({"launcher": "STOPPING", "answers": "silent"}, 20, "wait"),
        ({"launcher": "RUNNING", "answers": "ok"}, 20, "drop"),
        ({"launcher": None, "answers": "ok"}, 20, "drop"),
        ({"launcher": "STARTING", "answers": "refused"}, 20, "drop"),
        ({"launcher": "FATAL", "answers": "refused"}, 20, "drop"),
        ({"launcher": "STOPPED", "answers": "refused"}, 3600, "drop"),
    ],
)
def test_a_restart_that_was_begun_is_made_only_where_it_is_still_wanted(seen, after, what):
    assert unfinished(Look(1000.0 + after, **seen), 1000.0) == what


@pytest.mark.parametrize(
    "wrong",
    [{"interval": 0}, {"interval": -5}, {"interval": float("nan")}, {"restarts_an_hour": -1}, {"memory_share": 95}]
    + [{"nightly": time} for time in ("2:00", "25:99", "nonsense", "2.30")],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, Policy, strict=False)


def test_each_critical_finding_is_told_once_until_it_is_gone():
    server = Server()
    assert server.run(300, findings=("foreign_process",)) == [("page", "finding foreign_process")]
    two = ("foreign_process", "isolation_breach")
    assert server.run(300, findings=two) == [("page", "finding isolation_breach")]
    assert server.run(300) == []
    assert server.run(300, findings=two[:1]) == [("page", "finding foreign_process")]


def test_nothing_is_done_to_a_busy_one_for_an_hour():
    """Full pool, full card by design, health slow to answer, long steps: as long as it goes on, it is left alone."""
    rng, server, step = random.Random(1), Server(), 0
    server.run(60)
    for _ in range(120):
        step += rng.randrange(1, 2000)
        answers = "silent" if rng.random() < 0.2 else "ok"
        free = rng.randrange(60)
        busy = {"steps": step, "age": rng.random() * 60, "memory": 0.92 + rng.random() * 0.029}
        server.run(30, answers=answers, **busy, free_blocks=free, largest_free_block=rng.randrange(free + 1))
    assert server.done == []


@pytest.mark.parametrize(
    ("seen", "rule", "within"),
    [
        ({"launcher": "EXITED", "answers": "refused", "pid": None}, "ended", 30),
        ({"launcher": "FATAL", "answers": "refused", "pid": None}, "ended", 30),
        ({"launcher": "BACKOFF", "answers": "refused", "pid": None}, "flapping", 150),
        ({"answers": "dead"}, "dead", 60),
        ({"answers": "refused"}, "refused", 60),
        ({"answers": "silent"}, "silent", 150),
        ({"age": 150.0}, "stuck", 60),
    ],
)
def test_a_server_that_serves_nobody_is_restarted_in_time(seen, rule, within):
    server = Server()
    server.run(600)
    assert server.run(within, **seen) == [("restart", rule)]


def test_what_takes_one_look_is_not_acted_on():
    server = Server()
    server.run(600)
    for seen in ({"answers": "dead"}, {"answers": "refused"}, {"answers": "silent"}, {"age": 500.0}):
        assert server.run(30, **seen) == []
        assert server.run(300) == []


def test_a_start_may_take_its_time_and_no_longer():
    server = Server()
    assert server.run(870, answers="refused", launcher="RUNNING") == []
    assert server.run(90, answers="refused", launcher="RUNNING") == [("restart", "refused")]


def test_who_was_stopped_by_hand_is_left_alone():
    server = Server()
    server.run(600)
    assert server.run(7200, launcher="STOPPED", answers="refused", pid=None) == []


def test_a_configuration_that_never_comes_up_ends_with_a_page_and_not_in_a_loop():
    server = Server()
    server.run(600)
    done = server.run(3 * 3600, launcher="FATAL", answers="refused", pid=None)
    assert done.count(("page", "budget")) == 1
    for start in range(0, 3 * 3600, 600):
        recent = [at for at, action, _ in server.done if action == "restart" and start <= at - 600 < start + 3600]
        assert len(recent) <= POLICY.restarts_an_hour
    server.run(600)
    again = server.run(7200, launcher="FATAL", answers="refused", pid=None)
    assert again.count(("page", "budget")) == 1, "after it was healthy, a human is told again"


def test_a_card_that_is_full_by_design_is_not_flushed_and_one_that_grew_is():
    assert Server(memory=0.97).run(7200) == []
    server = Server()
    server.run(600)
    assert server.run(120, memory=0.96) == []
    assert server.run(60, memory=0.96) == [("flush", "memory")]
    assert server.run(240, memory=0.96) == []
    assert server.run(120, memory=0.96) == [("drain and restart", "memory")]


def test_a_flush_that_helped_is_the_end_of_it():
    server = Server()
    server.run(600)
    assert server.run(180, memory=0.96) == [("flush", "memory")]
    assert server.run(7200) == []


def test_in_quiet_hours_who_serves_is_not_restarted_but_who_does_not_is():
    server = Server()
    server.run(600)
    done = server.run(3600, quiet=True, memory=0.96)
    assert done == [("flush", "memory"), ("page", "memory in quiet hours")]
    assert server.run(60, quiet=True, answers="dead") == [("restart", "dead")]


def test_a_scattered_pool_is_flushed_once_in_a_while_and_a_full_one_never():
    server = Server()
    assert server.run(7200, free_blocks=60, largest_free_block=20) == []
    done = server.run(3600, free_blocks=900, largest_free_block=20)
    assert set(done) == {("flush", "scattered")}
    assert 1 <= len(done) <= 2


def test_a_hole_in_the_looks_proves_nothing():
    """The machine slept, or the guard was stopped: what was seen before does not count as seen meanwhile."""
    server = Server()
    server.run(600)
    server.run(30, answers="dead")
    server.now += 3600
    assert server.run(30, answers="dead") == []
    assert server.run(30, answers="dead") == [("restart", "dead")]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_is_seen_the_budget_holds_and_the_state_can_be_written_down(data):
    server = Server(Policy(start_seconds=60.0, hang_seconds=60.0, flush_cool_down=60.0))
    for _ in range(data.draw(st.integers(1, 60))):
        seen = {
            "answers": data.draw(st.sampled_from(["ok", "dead", "silent", "refused"])),
            "launcher": data.draw(st.sampled_from(["RUNNING", "STARTING", "EXITED", "FATAL", "STOPPED", None])),
            "pid": data.draw(st.sampled_from([None, 1, 2])),
            "age": data.draw(st.sampled_from([None, 0.0, 1000.0])),
            "memory": data.draw(st.sampled_from([None, 0.5, 0.96, 1.0])),
            "largest_free_block": data.draw(st.sampled_from([None, 0, 1000])),
            "free_blocks": data.draw(st.sampled_from([None, 0, 1000])),
        }
        server.run(30, **seen)
        server.state = msgspec.json.decode(msgspec.json.encode(server.state), type=State)
        restarts = [at for at, action, _ in server.done if "restart" in action]
        assert sum(server.now - at < 3600 for at in restarts) <= server.policy.restarts_an_hour
