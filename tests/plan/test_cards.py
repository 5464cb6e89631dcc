"""Cards are found by what people call them."""

from __future__ import annotations

import pytest

from unfrag.plan import cards


@pytest.mark.parametrize("card", cards.known(), ids=lambda card: card.name)
def test_each_card_is_found_by_its_own_name(card):
    """Also where another card's name is a part of it: a GH200 is no H200."""
    assert cards.find(card.name) == card
    assert cards.find(f"NVIDIA {card.name}") == card
