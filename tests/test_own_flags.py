"""unfrag's own flags in a `serve` line: taken out of vLLM's words, and told to the engine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unfrag import cli, own_flags


@pytest.mark.parametrize("words", [["--pool", "contiguous"], ["--pool=contiguous"]])
def test_own_flags_reach_the_engine_by_its_environment(words):
    left, own = own_flags.split(["model", "--block-size", "32", *words, "--compaction", "on", "--port", "1"])
    assert left == ["model", "--block-size", "32", "--port", "1"]
    assert own == {"UNFRAG_POOL": "contiguous", "UNFRAG_COMPACTION": "on"}


@pytest.mark.parametrize("words", [["--pool"], ["--pool", "whole"], ["--compaction=maybe"], ["--pool", "--port"]])
def test_a_value_that_is_none_is_one_line(words, capsys):
    assert cli.main(["serve", "model", *words]) == 2
    error = capsys.readouterr().err
    assert "choose one of" in error
    assert error.count("\n") == 1


@given(st.lists(st.text(max_size=8).filter(lambda word: not word.startswith(("--pool", "--compaction")))))
def test_everything_else_is_vllms(words):
    assert own_flags.split(words) == (words, {})
