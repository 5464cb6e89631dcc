"""Cards by name: memory as the driver reports it, compute capability, bandwidth, and what follows from those."""

from __future__ import annotations

import re
from functools import cache

import msgspec

from unfrag import data


class Card(msgspec.Struct, frozen=True):
    """``memory_bytes`` of one card. ``capability`` is 0 for a card that was given by its memory alone."""

    name: str
    memory_bytes: int
    capability: float = 0.0
    bandwidth_gbs: float | None = None

    @property
    def is_cuda(self) -> bool:
        """Is ``capability`` CUDA's?"""
        return re.match(r"MI\d|910|ascend|intel|arc", self.name, re.IGNORECASE) is None

    @property
    def large(self) -> bool:
        """Does vLLM take its larger defaults (1,024 requests, 8,192 tokens a step) on it?"""
        return self.memory_bytes >= 70 * 2**30 and "a100" not in self.name.lower()


def find(name: str) -> Card | None:
    """The card that a name like "NVIDIA H100 80GB HBM3" or "4090d" means; None for an unknown one."""
    said = _plain(name)
    return next((card for card in known() if _plain(card.name) in said), None)


@cache
def known() -> tuple[Card, ...]:
    """All of cards.toml, in its order."""
    return tuple(
        Card(row["name"], int(row["memory_gib"] * 2**30), row["capability"], row["bandwidth_gbs"])
        for row in data.table("cards.toml")["card"]
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
