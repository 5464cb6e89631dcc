"""unfrag's own flags in a `serve` line: taken out of vLLM's words, and told to the engine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unfrag import cli
from unfrag.flags import ours
from unfrag.units import read_size


@pytest.mark.parametrize("words", [["--pool", "contiguous"], ["--pool=contiguous"]])
def test_own_flags_reach_the_engine_by_its_environment(words):
    left, own = ours.split(["model", "--block-size", "32", *words, "--compaction", "on", "--port", "1"])
    assert left == ["model", "--block-size", "32", "--port", "1"]
    assert own == {"UNFRAG_POOL": "contiguous", "UNFRAG_COMPACTION": "on"}


@pytest.mark.parametrize("words", [["--pool"], ["--pool", "whole"], ["--compaction=maybe"], ["--pool", "--port"]])
def test_a_value_that_is_none_is_one_line(words, capsys):
    assert cli.main(["serve", "model", *words]) == 2
    error = capsys.readouterr().err
    assert "choose one of" in error
    assert error.count("\n") == 1


def test_the_expert_cache_is_on_when_its_flag_is_bare():
    words = [
        "m",
        "--enable-expert-cache",
        "--expert-cache-bytes",
        "1.5GiB",
        "--expert-cache-file=/var/lib/routes",
        "--port",
        "1",
    ]
    left, own = ours.split(words)
    assert left == ["m", "--port", "1"]
    assert own == {
        "UNFRAG_EXPERT_CACHE": "on",
        "UNFRAG_EXPERT_CACHE_BYTES": "1.5GiB",
        "UNFRAG_EXPERT_CACHE_FILE": "/var/lib/routes",
    }
    assert read_size("1.5GiB") == 3 << 29
    assert ours.split(["--enable-expert-cache=observe"])[1] == {"UNFRAG_EXPERT_CACHE": "observe"}


@pytest.mark.parametrize(
    "words",
    [
        ["--enable-expert-cache=maybe"],
        ["--enable-expert-cache", "--expert-cache-bytes", "much"],
        ["--enable-expert-cache", "--expert-cache-file"],
        ["--expert-cache-bytes", "1g"],
    ],
)
def test_what_the_expert_cache_cannot_be_told_is_one_line(words, capsys):
    assert cli.main(["serve", "model", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@given(
    st.lists(
        st.text(max_size=8).filter(
            lambda word: not word.startswith(("--pool", "--compaction", "--enable-expert", "--expert-cache"))
        )
    )
)
def test_everything_else_is_vllms(words):
    assert ours.split(words) == (words, {})
