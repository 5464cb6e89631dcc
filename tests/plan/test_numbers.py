"""What is typed means what vLLM would take it for, and a card's name may say how many there are."""

import argparse

import pytest

from unfrag.commands import numbers
from unfrag.plan import cards


@pytest.mark.parametrize(
    ("text", "value"), [("4096", 4096), ("128k", 128_000), ("128K", 131_072), ("1M", 1_048_576), ("25.6k", 25_600)]
)
def test_a_length(text, value):
    assert numbers.tokens(text) == value


@pytest.mark.parametrize("text", ["", "k", "1.5", "1.5K", "1e3", "-1", "0", "128kk", "9" * 5000, "nan", "٣"])
def test_no_length(text):
    with pytest.raises(argparse.ArgumentTypeError):
        numbers.tokens(text)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("H100", ("H100", None)),
        ("H100x4", ("H100", 4)),
        ("H100 x 4", ("H100", 4)),
        ("4xH100", ("H100", 4)),
        ("4x RTX 4090 D", ("RTX 4090 D", 4)),
        ("RTX 4090", ("RTX 4090", None)),
        ("RTX 4090 x2", ("RTX 4090", 2)),
        ("MyCardx4", ("MyCardx4", None)),
    ],
)
def test_a_card_and_how_many(name, found):
    assert cards.counted(name) == found


def test_a_card_that_is_not_known_is_answered_with_its_likes():
    assert "H100" in cards.like("H10")
    assert len(cards.like("zzzzzz")) == len(cards.known())
