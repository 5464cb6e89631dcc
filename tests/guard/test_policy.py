"""The guard's decisions on made-up time: what is done, when, and what never is."""

from __future__ import annotations

import random
import tomllib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unfrag.guard.decide import at_night, decide, unfinished
from unfrag.guard.policy import Policy, contradiction
from unfrag.guard.state import NOTHING, Poll, State
from unfrag.system import resources

POLICY = Policy()


class Server:
    """A fake clock and the polls at one server; what was decided, with its second."""

    def __init__(self, policy=POLICY, **ordinary):
        self.policy, self.now, self.state = policy, 0.0, State()
        self.ordinary = {"answers": "ok", "launcher": "RUNNING", "pid": 1, "age": 0.1, "activity": "busy", **ordinary}
        self.ordinary = {"free_blocks": 4000, "largest_free_block": 3000, **self.ordinary}
        self.done = []

    def run(self, seconds, quiet=False, **seen):
        """So many seconds of the same; the actions that were decided in them."""
        begun, end = len(self.done), self.now + seconds
        while self.now < end - 1e-6:
            self.now += self.policy.interval
            poll = Poll(self.now, **{**self.ordinary, **seen})
            decision, self.state = decide(poll, self.state, self.policy, quiet)
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
        ({"launcher": "UNLOADED", "answers": "refused"}, 20, "restart"),
        ({"launcher": "RUNNING", "answers": "silent", "pid": 7}, 20, "restart"),  # it was never stopped
        ({"launcher": "RUNNING", "answers": "silent", "pid": 8}, 20, "drop"),
        ({"launcher": "STOPPED", "answers": "refused", "changing": "one"}, 20, "drop"),
        ({"launcher": "STOPPED", "answers": "refused", "cut_short": "unfrag rollback"}, 20, "drop"),
    ],
)
def test_a_restart_that_was_begun_is_made_only_where_it_is_still_wanted(seen, after, what):
    assert unfinished(Poll(1000.0 + after, **seen), 1000.0, pid=7) == what


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
    for _ in range(720):
        step += rng.randrange(1, 2000)
        answers = "silent" if rng.random() < 0.2 else "ok"
        free = rng.randrange(60)
        busy = {"steps": step, "age": rng.random() * 60, "memory": 0.92 + rng.random() * 0.029}
        server.run(5, answers=answers, **busy, free_blocks=free, largest_free_block=rng.randrange(free + 1))
    assert server.done == []


@pytest.mark.parametrize(
    ("seen", "rule", "within"),
    [
        ({"launcher": "EXITED", "answers": "refused", "pid": None}, "ended", 5),
        ({"launcher": "FATAL", "answers": "refused", "pid": None}, "ended", 5),
        ({"launcher": "BACKOFF", "answers": "refused", "pid": None}, "flapping", 60),
        ({"answers": "dead"}, "dead", 10),
        ({"answers": "refused"}, "refused", 10),
        *(({"answers": "silent", "activity": what}, "silent", 60) for what in ("stopped", "broken", "idle")),
    ],
)
def test_a_server_that_serves_nobody_is_restarted_in_time(seen, rule, within):
    server = Server()
    server.run(600)
    assert server.run(within, **seen) == [("restart", rule)]


def stands_still(server, seconds, activity):
    """The engine makes no step, and ``/health`` goes on to say 200."""
    begun = server.now
    return [done for _ in range(int(seconds / 5)) for done in server.run(5, age=server.now - begun, activity=activity)]


@pytest.mark.parametrize("activity", ["stopped", "broken", "idle"])
def test_an_engine_that_stands_still_is_restarted_within_a_minute(activity):
    server = Server()
    server.run(600)
    assert stands_still(server, 60, activity) == [("restart", "stuck")]


@pytest.mark.parametrize("activity", ["busy", "compiling", None])
def test_a_kernel_that_compiles_or_weights_that_are_read_for_four_minutes_are_no_hang(activity):
    server = Server()
    server.run(600)
    assert stands_still(server, 240, activity) == []
    assert server.run(600) == []


def test_an_engine_that_spins_without_end_is_restarted_too_but_later():
    server = Server()
    server.run(600)
    assert stands_still(server, 595, "busy") == []
    assert stands_still(server, 615, "busy")[:1] == [("restart", "stuck")]


def test_who_compiles_for_ten_minutes_is_not_restarted_but_a_human_is_told():
    server = Server()
    server.run(600)
    assert stands_still(server, 3600, "compiling") == [("page", "stuck")]


def test_a_server_in_a_debugger_is_left_to_who_debugs_it():
    server = Server()
    server.run(600)
    assert stands_still(server, 3600, "traced") == []


def test_what_takes_one_poll_is_not_acted_on():
    server = Server()
    server.run(600)
    for seen in ({"answers": "dead"}, {"answers": "refused"}, {"answers": "silent"}, {"age": 500.0}):
        assert server.run(5, **seen) == []
        assert server.run(300) == []


def test_a_start_may_take_its_time_and_no_longer():
    server = Server(activity="idle")
    assert server.run(890, answers="refused") == []
    assert server.run(20, answers="refused") == [("restart", "refused")]


def test_a_start_that_works_goes_on_for_an_hour_and_then_a_human_is_told():
    server = Server()
    assert server.run(3590, answers="refused") == []
    assert server.run(600, answers="refused") == [("page", "starting")]


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


def test_restarts_that_helped_are_not_counted_as_in_vain():
    """An engine that is killed every five minutes and comes back each time is brought back each time."""
    server = Server()
    server.run(600)
    for pid in range(2, 8):
        assert server.run(10, answers="dead") == [("restart", "dead")]
        server.run(30, answers="refused", pid=pid)
        assert server.run(270, pid=pid) == []
    assert server.run(600, answers="dead") == [("restart", "dead")] * 3 + [("page", "budget")]
    poll = Poll(server.now + 5, "dead", launcher="RUNNING")
    why = decide(poll, server.state, POLICY)[0].why
    assert "3 restarts in the last hour did not help" in why
    assert "tried again in" in why


def test_an_incident_that_is_over_leaves_the_next_one_its_whole_budget():
    """Two restarts do not help, a third one does; the minute of health after it counts for all three."""
    server = Server()
    server.run(600)
    assert server.run(95, launcher="FATAL", answers="refused", pid=None) == [("restart", "ended")] * 3
    server.run(POLICY.helped_seconds - 5, pid=2)
    assert not any(each.helped for each in server.state.restarts)
    server.run(10, pid=2)
    assert all(each.helped for each in server.state.restarts)
    again = server.run(300, launcher="FATAL", answers="refused", pid=None)
    assert again == [("restart", "ended")] * POLICY.restarts_an_hour + [("page", "budget")]


def test_restarts_that_help_for_a_while_have_an_end_too():
    server = Server()
    server.run(600)
    for _ in range(POLICY.most_restarts_an_hour):
        assert server.run(10, answers="dead") == [("restart", "dead")]
        server.run(70)
    assert server.run(10, answers="dead") == [("page", "budget")]
    why = decide(Poll(server.now + 5, "dead", launcher="RUNNING"), server.state, POLICY)[0].why
    assert "10 restarts in the last hour helped for a while each" in why


CARD = {"is_card": True}


@pytest.mark.parametrize("utilization", [0.90, 0.92, 0.95, 0.97])
def test_a_card_that_grows_by_its_first_big_prefill_is_left_alone(utilization):
    """By 2 to 4% of a small card: activations that vLLM profiled, emptied at the start and needs again."""
    server = Server()
    assert server.run(600, **CARD, memory=utilization - 0.05, over_budget=-0.05) == []
    assert server.run(86400, **CARD, memory=utilization + 0.02, over_budget=0.01) == []


def test_a_card_beyond_vllms_own_budget_is_relieved_and_then_a_human_is_told():
    server, over = Server(), {**CARD, "memory": 0.99, "over_budget": 0.06}
    server.run(600, **CARD, memory=0.93, over_budget=0.0)
    assert server.run(125, **over) == [("release", "memory")]
    assert server.run(290, **over) == []
    assert server.run(86400, **over) == [("page", "memory")], "it serves: it is not restarted"


def test_memory_that_others_hold_on_the_card_is_no_reason():
    server = Server()
    server.run(600, **CARD, memory=0.93, over_budget=0.0)
    assert server.run(7200, **CARD, memory=0.999, over_budget=0.0) == []


def test_a_server_without_a_card_is_restarted_when_it_outgrows_its_limit():
    assert Server(memory=0.97).run(7200) == []
    server = Server(memory=0.92)
    server.run(660)
    assert server.run(120, memory=0.96) == []
    assert server.run(60, memory=0.96) == [("release", "memory")]
    assert server.run(240, memory=0.96) == []
    assert server.run(120, memory=0.96) == [("drain and restart", "memory")]


def test_what_it_holds_once_it_has_settled_is_ordinary():
    """Its first big prompts come after it was first seen."""
    server = Server(memory=0.80)
    server.run(60)
    assert server.run(500, memory=0.96) == []
    assert server.run(86400, memory=0.97) == []


def test_memory_that_was_given_back_is_the_end_of_it():
    server = Server(memory=0.92)
    server.run(660)
    assert server.run(180, memory=0.96) == [("release", "memory")]
    assert server.run(7200) == []


def test_in_quiet_hours_who_serves_is_not_restarted_but_who_does_not_is():
    server = Server(memory=0.92)
    server.run(660)
    done = server.run(3600, quiet=True, memory=0.96)
    assert done == [("release", "memory"), ("page", "memory in quiet hours")]
    assert server.run(10, quiet=True, answers="dead") == [("restart", "dead")]


def test_a_day_of_a_busy_stock_pool_is_left_alone():
    """Scattered by design: no 50 free blocks lie together for hours, though thousands are free."""
    rng, server = random.Random(2), Server(**CARD, memory=0.96, over_budget=0.0)
    for _ in range(24 * 12):
        free = rng.randrange(100, 4000)
        server.run(300, free_blocks=free, largest_free_block=rng.randrange(5, 50))
    assert server.done == []
    assert at_night(Poll(server.now, "ok", free_blocks=900, largest_free_block=20), POLICY, "") == NOTHING


def test_where_runs_matter_a_scattered_pool_is_moved_together_and_never_emptied():
    scattered = {"free_blocks": 900, "largest_free_block": 20, "runs_matter": "OffloadingConnector"}
    server = Server()
    assert server.run(7200, **{**scattered, "free_blocks": 60}) == [], "a full pool has nothing to move together"
    done = server.run(3600, **scattered)
    assert set(done) == {("compact", "scattered")}
    assert 1 <= len(done) <= 2
    assert at_night(Poll(server.now, "ok", **scattered), POLICY, "").action == "compact"
    assert set(Server(Policy(runs_matter=True)).run(1000, free_blocks=900, largest_free_block=20)) == {
        ("compact", "scattered")
    }


def test_the_articles_policy_does_what_the_article_says():
    article = msgspec.convert(
        tomllib.loads(resources.text("unfrag.guard", "policies/article.toml")), Policy, strict=False
    )
    assert contradiction(article) is None
    server = Server(article, **CARD, memory=0.9, over_budget=0.0)
    assert server.run(600) == []
    assert server.run(3600, free_blocks=900, largest_free_block=20)[0] == ("flush", "scattered")
    full = server.run(1200, memory=0.96)
    assert full[:2] == [("release", "memory"), ("drain and restart", "memory")]
    assert at_night(Poll(0.0, "ok"), article, "").action == "flush"


@pytest.mark.parametrize(
    "wrong", [{"interval": 60.0}, {"interval": 50.0, "hang_seconds": 49.0}, {"busy_seconds": 10.0}]
)
def test_a_policy_by_which_every_server_would_poll_hung_is_refused(wrong):
    assert contradiction(Policy(**wrong)) is not None
    assert contradiction(Policy()) is None


def test_a_hole_in_the_polls_proves_nothing():
    """The machine slept, or the guard was stopped: what was seen before does not count as seen meanwhile."""
    server = Server()
    server.run(600)
    server.run(5, answers="dead")
    server.now += 3600
    assert server.run(5, answers="dead") == []
    assert server.run(5, answers="dead") == [("restart", "dead")]


@settings(max_examples=200)
@given(st.data())
def test_whatever_is_seen_the_budget_holds_and_the_state_can_be_written_down(drawn):
    server = Server(Policy(start_seconds=60.0, hang_seconds=60.0, flush_cool_down=60.0, settle_seconds=30.0))
    for _ in range(drawn.draw(st.integers(1, 60))):
        seen = {
            "answers": drawn.draw(st.sampled_from(["ok", "dead", "silent", "refused"])),
            "launcher": drawn.draw(st.sampled_from(["RUNNING", "STARTING", "EXITED", "FATAL", "STOPPED", None])),
            "pid": drawn.draw(st.sampled_from([None, 1, 2])),
            "age": drawn.draw(st.sampled_from([None, 0.0, 1000.0])),
            "activity": drawn.draw(st.sampled_from([None, "idle", "busy", "stopped", "compiling"])),
            "memory": drawn.draw(st.sampled_from([None, 0.5, 0.96, 1.0])),
            "largest_free_block": drawn.draw(st.sampled_from([None, 0, 1000])),
            "free_blocks": drawn.draw(st.sampled_from([None, 0, 1000])),
        }
        server.run(30, **seen)
        server.state = msgspec.json.decode(msgspec.json.encode(server.state), type=State)
        restarts = [at for at, action, _ in server.done if "restart" in action]
        assert sum(server.now - at < 3600 for at in restarts) <= server.policy.most_restarts_an_hour


@pytest.mark.parametrize("launcher", ["UNLOADED", "STOPPED", "FATAL", "STARTING", None])
def test_a_server_whose_flags_are_being_changed_is_left_to_whoever_does_it(launcher):
    server = Server()
    server.run(60)
    assert server.run(1200, answers="refused", launcher=launcher, changing="one") == []


@pytest.mark.parametrize("launcher", ["UNLOADED", "STOPPED", "FATAL", "EXITED", "STARTING", None])
def test_a_change_that_was_cut_short_is_told_once_and_never_started(launcher):
    server = Server()
    server.run(60)
    cut_short = {"answers": "refused", "launcher": launcher, "cut_short": "unfrag rollback --config x"}
    assert server.run(3600, **cut_short) == [("page", "unfinished change")]


def test_what_somebody_took_from_its_launcher_is_left_so():
    server = Server()
    server.run(60)
    assert server.run(3600, answers="refused", launcher="UNLOADED") == []
