"""The second tier: what it says where no rule is sure, and that it keeps quiet where it should."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unfrag.doctor import collect, diagnosis
from unfrag.doctor.probes.log.terms import terms
from unfrag.doctor.rules import RULES
from unfrag.doctor.rules.thresholds import load_thresholds
from unfrag.doctor.weigh import hypotheses, signals
from unfrag.doctor.weigh.hypotheses import HEALTHY
from unfrag.doctor.words import pages

CAUSES = {rule.CAUSE for rule in RULES}
SIGNALS = sorted(hypotheses._weights().worth)
# Symptoms in a user's words, of which no rule knows a form: (what he wrote, causes one of which must be named).
TOLD = (
    (
        "The server hangs while NCCL is initialised on two cards, all_reduce never returns, GPU use stays at 100%",
        {"nccl_hang", "engine_stalled"},
    ),
    ("四卡启动时卡住不动，显存占用后 GPU 利用率 100%，NCCL 没有任何报错", {"nccl_hang", "engine_stalled"}),
    (
        "RAM of the process grows from 20 GB to 180 GB over three days until the kernel kills it",
        {"memory_leak_host", "host_oom"},
    ),
    ("每次请求后显存都增加，不释放，四五次以后就满了", {"memory_leak_gpu"}),
    ("Unknown argument: --split-mode row", {"unsupported_flag"}),
)


def judged(folder, log):
    folder.mkdir(exist_ok=True)
    (folder / "log.txt").write_text(log)
    return diagnosis.diagnose(collect.evidence(folder), load_thresholds())


@pytest.mark.parametrize(("told", "causes"), TOLD, ids=[f"{n}" for n, _ in enumerate(TOLD)])
def test_a_symptom_in_the_words_of_a_user_is_not_met_with_silence(told, causes, tmp_path):
    found = judged(tmp_path / "a", told + "\n").findings
    assert causes & {finding.cause for finding in found}
    assert all(finding.fixes[-1].startswith("to decide: ") for finding in found if finding.certainty == "possible")


def test_at_most_three_and_the_likeliest_first(tmp_path):
    for number, (told, _) in enumerate(TOLD):
        found = judged(tmp_path / str(number), told).findings
        assert len(found) <= 3
        shares = [finding.confidence for finding in found]
        assert shares == sorted(shares, reverse=True)


def test_what_says_nothing_gives_nothing(tmp_path):
    for number, log in enumerate(("nothing much\n", "\n\n", "hello world\nfine\n")):
        found = judged(tmp_path / str(number), log)
        assert (found.findings, found.verdict) == ((), "unknown")


@given(st.sets(st.sampled_from(SIGNALS), max_size=60))
def test_shares_are_shares(seen):
    found = hypotheses.weigh(seen)
    assert math.isclose(sum(each.share for each in found), 1.0, abs_tol=1e-9)
    assert {each.cause for each in found} == CAUSES | {HEALTHY}
    assert all(a.share >= b.share for a, b in itertools.pairwise(found))
    assert all(set(each.speaks_for) <= seen and set(each.against) <= seen for each in found)


def test_a_long_log_says_no_more_than_a_short_one(tmp_path):
    """Words count by their share: the same lines again, and thousands of answered requests around, change nothing."""
    told = "RuntimeError: the engine hangs, all_reduce never returns\n"
    access = 'INFO:     127.0.0.1:1 - "POST /v1/completions HTTP/1.1" 200 OK\n'
    short = judged(tmp_path / "short", told).findings
    long = judged(tmp_path / "long", told * 50).findings
    assert [finding.cause for finding in long] == [finding.cause for finding in short]
    with_requests = signals.of(collect.evidence(_folder(tmp_path / "busy", access * 2000 + told)))
    without = signals.of(collect.evidence(tmp_path / "short"))
    assert {name for name in without if name.startswith("word ")} <= with_requests


def _folder(folder, log):
    folder.mkdir()
    (folder / "log.txt").write_text(log)
    return folder


@pytest.mark.parametrize("cause", sorted(CAUSES))
def test_each_cause_says_what_to_do_and_what_decides(cause):
    told = pages.head(cause).hypothesis
    assert told is not None
    assert told.fixes
    assert told.decide
    assert "<" not in "".join((*told.fixes, told.decide))


def test_what_is_said_not_to_be_there_counts_for_nothing():
    plain = terms("the server is slow")
    for denied in ("the server is slow, without any errors", "the server is slow, no OOM at all"):
        assert not {term for term in terms(denied) - plain if "error" in term or "memory" in term or "oom" in term}
    assert "about:out of memory" in terms("OOM")
    assert not {term for term in terms("很慢，没有任何报错") if "报错" in term}


def test_memory_in_use_is_no_other_process():
    assert "about:others on the card" not in terms("显存占用 92%，一切正常")
    assert "about:others on the card" in terms("显存被占用，进程残留")


def test_a_weak_guess_about_a_server_that_did_not_fail_is_no_more_than_a_warning(tmp_path):
    found = judged(
        tmp_path / "a", "After some days answers come slower and slower, first tokens late; hit rate lower\n"
    )
    assert all(finding.severity == "warning" for finding in found.findings if finding.confidence < 0.5)
