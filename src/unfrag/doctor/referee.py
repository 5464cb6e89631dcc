"""Advice is held against the launch line before it is printed: what changes nothing or cannot help is left out.

A fix is left out that repeats what is given, quantises what is quantised already, gives a share of the card where the
cache's bytes are given, or leaves less of the card than any model needs. More ranks than cards are said to want cards.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from unfrag.doctor.weigh import evidence
from unfrag.doctor.weigh.dialect import vllms_name

if TYPE_CHECKING:
    from unfrag.facts.finding import Finding, FlagChange
    from unfrag.facts.snapshot import Snapshot

_LEAST_SHARE = 0.3
_FULL_BYTES = 2
_RANKS = re.compile(r"--(?:tensor-parallel-size|tp(?:-size)?)[ =](\d{1,5})\b")
_SMALL_CACHE = re.compile(r"fp8|nvfp4|int8|int4", re.IGNORECASE)
_SEVERAL_MACHINES = re.compile(r"node|machine|host|server|机", re.IGNORECASE)


def allowed(finding: Finding, snapshot: Snapshot) -> Finding:
    """The finding with the fixes that may stand."""
    texts: list[str] = []
    changes: list[FlagChange] = []
    for number, text in enumerate(finding.fixes):
        own = [change for change in finding.changes if change.fix == number]
        if own and all(_is_void(change, snapshot) for change in own):
            continue
        if _wants_cards(text, snapshot):
            texts.append(f"add cards: {text}")
            continue
        changes += [msgspec.structs.replace(change, fix=len(texts)) for change in own]
        texts.append(text)
    return msgspec.structs.replace(finding, fixes=tuple(texts), changes=tuple(changes))


def _is_void(change: FlagChange, snapshot: Snapshot) -> bool:
    """Would it change nothing, or nothing for the better?"""
    name, value = vllms_name(change.flag), change.value
    if change.unset:
        return False
    given = evidence.flag(snapshot, name)
    if name.startswith("--") and evidence.has_flag(snapshot, name) and given == value:
        return True
    match name:
        case "--gpu-memory-utilization":
            sized = evidence.has_flag(snapshot, "--kv-cache-memory-bytes", "--kv-cache-memory")
            return sized or _number(value) < _LEAST_SHARE
        case "--kv-cache-dtype":
            return bool(_SMALL_CACHE.search(given or ""))
        case "--quantization":
            return evidence.bytes_per_parameter(snapshot) < _FULL_BYTES
    return False


def _wants_cards(text: str, snapshot: Snapshot) -> bool:
    """Does it ask for more ranks than there are cards, on one machine?"""
    cards, asked = evidence.cards(snapshot), _RANKS.search(text)
    several = isinstance(snapshot.cards, str) and _SEVERAL_MACHINES.search(snapshot.cards)
    return cards is not None and asked is not None and not several and int(asked[1]) > cards and "add" not in text


def _number(value: str | None) -> float:
    try:
        return float(value or "")
    except ValueError:
        return 1.0
