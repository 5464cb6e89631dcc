"""Cards by name: memory as the driver reports it, compute capability, bandwidth, and what follows from those."""

from __future__ import annotations

import difflib
import re
from functools import cache

import msgspec

from unfrag.errors import UsageError
from unfrag.system import resources
from unfrag.units import GIB

_LONGEST_NAME = 100


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
        return self.memory_bytes >= 70 * GIB and "a100" not in self.name.lower()


def find(name: str) -> Card | None:
    """The card that a name like "NVIDIA H100 80GB HBM3" or "4090d" means; None for an unknown one."""
    said = _plain(name[:_LONGEST_NAME])
    inside = [card for card in known() if _plain(card.name) in said]
    return max(inside, key=lambda card: len(_plain(card.name)), default=None)  # a GH200 is no H200


def named(name: str | None, gib: float | None) -> Card:
    """The card that a name or a size of memory means. Raises UsageError: neither says one."""
    if gib is not None:
        if not 1 <= gib <= 4096:
            raise UsageError(f"--gpu-memory {gib:g} is no size of a card in GiB")
        return Card(name or "card", int(gib * GIB))
    if name is None:
        raise UsageError("which card? --gpu NAME, or --gpu-memory GIB")
    card = find(name)
    if card is None:
        known_names = ", ".join(like(name))
        raise UsageError(f"--gpu {name[:60]!r} is not known; known are {known_names}; or give --gpu-memory GIB")
    return card


def counted(name: str) -> tuple[str, int | None]:
    """(name, how many) of "4x H100", "H100x4" or "RTX 4090 D * 2"; None where the name says no number."""
    if found := re.fullmatch(r"(\d{1,4})\s?[x×*]\s?(\S.*)", name.strip()[:_LONGEST_NAME]):
        return found[2], int(found[1])
    found = re.fullmatch(r"(.*\S)\s?[x×*]\s?(\d{1,4})", name.strip()[:_LONGEST_NAME])
    # "RTX 4090" ends like that too.
    return (found[1], int(found[2])) if found and find(found[1]) is not None else (name, None)


def like(name: str) -> list[str]:
    """Names of known cards that are spelled nearly so; of all where none is."""
    names = {_plain(card.name): card.name for card in known()}
    near = difflib.get_close_matches(_plain(name[:_LONGEST_NAME]), names, n=4, cutoff=0.5)
    return [names[one] for one in near] or list(names.values())


@cache
def known() -> tuple[Card, ...]:
    """All of cards.toml, in its order."""
    return tuple(
        Card(row["name"], int(row["memory_gib"] * GIB), row["capability"], row["bandwidth_gbs"])
        for row in resources.table("unfrag.plan", "cards.toml")["card"]
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
