"""Command lines: what is read, and that only the intended words change."""

import shlex
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unfrag.errors import UsageError
from unfrag.flags.line import change_flags, must_be_short, must_be_startable, read_flags, split

ARTICLE = (
    "/root/miniconda3/bin/python -m vllm.entrypoints.api_server --model /root/.cache/huggingface/ZhipuAI/GLM-4.7-Flash "
    "--tensor-parallel-size 4 --port 8000"
)
words = st.text(string.ascii_letters + string.digits + "/._-=:,{}\"' ", min_size=1, max_size=12)


def test_reads_every_spelling_of_a_flag():
    assert read_flags("vllm serve m --port=80 --max_num_seqs 8 --enforce-eager --block-size 16 --block-size 32") == {
        "--port": "80",
        "--max-num-seqs": "8",
        "--enforce-eager": None,
        "--block-size": "32",
    }


def test_a_bare_flag_does_not_take_the_word_after_it():
    assert read_flags("vllm serve --enforce-eager /model")["--enforce-eager"] is None


def test_adds_behind_the_last_word():
    changed = change_flags(ARTICLE, {"--block-size": "32", "--enable-chunked-prefill": None})
    assert changed == ARTICLE + " --block-size 32 --enable-chunked-prefill"


def test_changes_in_place_and_keeps_every_other_byte():
    text = "python  -m x \\\n   --model '/a b'\t--block-size=16  --port 8000 ; a comment --block-size 9"
    changed = change_flags(text, {"--block-size": "32"})
    assert changed == text.replace("--block-size=16", "--block-size 32")


def test_setting_a_flag_takes_its_opposite_and_its_repetition_away():
    assert change_flags("v --no-enable-prefix-caching --a 1 --a 2", {"--enable-prefix-caching": None, "--a": "2"}) == (
        "v --a 2 --enable-prefix-caching"
    )


def test_removes_a_flag_with_its_value():
    assert change_flags("v --a 1 --b 2 --c", {}, ("--b",)) == "v --a 1 --c"


def test_a_change_that_changes_nothing_changes_no_byte():
    text = "v  --a=1   --b '2'"
    assert change_flags(text, {"--a": "1", "--b": "2"}) == text


def test_a_value_that_looks_like_a_flag_stays_a_value():
    assert change_flags("v", {"--chat-template": "--x"}) == "v --chat-template=--x"
    assert read_flags(change_flags("v", {"--enable-x": "on"}))["--enable-x"] == "on"


@given(st.lists(words, max_size=8))
def test_splits_as_the_shell_does(parts):
    assert [word.text for word in split(shlex.join(parts)) if not word.text.startswith(("#", ";"))] == [
        part for part in parts if not part.startswith(("#", ";"))
    ]


@given(st.text(max_size=200))
def test_no_text_breaks_it(text):
    for word in split(text):
        assert 0 <= word.start < word.end <= len(text)
    read_flags(text)
    change_flags(text, {"--x": "1"}, ("--y",))


@given(st.lists(words, max_size=6), st.sampled_from(["--block-size", "--max-num-seqs"]), words)
def test_what_was_set_is_read_back_and_the_rest_stays(parts, flag, value):
    line = shlex.join(["python", *parts])
    before, after = read_flags(line), read_flags(change_flags(line, {flag: value}))
    assert after[flag] == value
    opposite = "--no-" + flag[2:]
    assert {k: v for k, v in after.items() if k != flag} == {
        k: v for k, v in before.items() if k not in (flag, opposite)
    }


@pytest.mark.parametrize("text", ["v 'a", 'v "a\\"', "v --a='", "v \\\n 'a ; b"])
def test_an_open_quote_is_not_edited(text):
    with pytest.raises(UsageError, match="never closed"):
        must_be_startable(text)


@pytest.mark.parametrize("text", ["v 'a'", 'v "a\\\\"', "v \\'", "v a ; it's a comment", "v ''", ""])
def test_closed_quotes_may_be_edited(text):
    must_be_startable(text)


def test_a_command_that_nothing_can_be_started_with_is_refused():
    with pytest.raises(UsageError, match="NUL"):
        must_be_startable("v a\0")
    with pytest.raises(UsageError, match="longer than 128 KiB"):
        must_be_short("v" * (128 << 10) + "x")
