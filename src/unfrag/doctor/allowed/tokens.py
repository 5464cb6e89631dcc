"""One word of a line, by itself: what of it may stay."""

from __future__ import annotations

import re
from functools import lru_cache

from unfrag.doctor.allowed import addresses, numbers, paths, releases, vocabulary
from unfrag.flags.check import LISTED, known, never
from unfrag.flags.engines import in_vllm
from unfrag.flags.ours import FLAGS

_ALWAYS = re.compile(
    r"0x(?:ffff)?[0-9a-fA-F]{1,12}|\d\d:\d\d(?::\d\d)?(?:[.,]\d{1,6})?|(?:UD-)?(?:I?Q|TQ)\d_(?:\d|[A-Z]{1,3}(?:_[A-Z]{1,2})?)"
    r"|[wW]\d{1,2}[aA]\d{1,2}|[eE]\d{1,2}[mM]\d{1,2}|\dg\.\d{1,3}gb|P\d{1,2}|N/A|nvjet_[a-z]{3}(?:_(?:\d{1,3}x\d{1,3}|[hv]|bz|splitK|coop[AB]|[NT]{3})){2,9}"
    r"|[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f]|\d{1,2}[x×*]|(?:GPU|NPU|cuda|rank|RANK|node|DP|TP|EP|PP|GB|sm_?|cu|nccl)[:_]?\d{1,3}[a-z]?"
    r"|(?:eth|eno|ens|enp|ib|ibp|bond|docker|br|lo|mlx5_|hfi1_)\d{0,3}|[-+*/=:.#~^|_@$%&\\]+|\d{1,3}/\d{1,3}"
)
_VARIABLE = re.compile(
    r"(?:VLLM|NCCL|CUDA|TORCH|PYTORCH|HF|TRANSFORMERS|OMP|MKL|LMCACHE|SGLANG|SGL|UCX|GLOO|NVIDIA|RAY|TRITON|FLASHINFER|NVSHMEM|MC|UNFRAG|PYTHON|LD)_[A-Z0-9_]{2,60}"
)
_SHORT_FLAG = re.compile(r"-(?:tp|pp|dp|dcp|pcp|ep|q|m|e|v|p|i|t|d|it|c)")


@lru_cache(1)
def flags() -> frozenset[str]:
    """Every flag of a listed vLLM, of unfrag, and of its kin."""
    return frozenset({*FLAGS, *never(), *in_vllm()}).union(*map(known, LISTED))


@lru_cache(1)
def fields() -> frozenset[str]:
    """Flags as they are printed among a server's arguments: ``seed``, ``max_model_len``."""
    return frozenset(flag.strip("-").replace("-", "_") for flag in flags()) | {"tokens", "dtype", "engine", "device"}


def is_flag(word: str) -> bool:
    """A flag that is known, or made of known words."""
    if not word.startswith("-"):
        return False
    return (
        word.replace("_", "-") in flags() or bool(_SHORT_FLAG.fullmatch(word)) or vocabulary.is_plain(word.strip("-"))
    )


def is_key(word: str) -> bool:
    """May a number be told as this one's value?"""
    bare = word.strip("-")
    return (
        bare.replace("-", "_") in fields()
        or vocabulary.is_identifier(word)
        or is_flag(word)
        or vocabulary.is_unit(word)
    )


@lru_cache(1 << 16)
def kept(word: str, plain: bool = False) -> str | None:
    """What of a word may stay; None when nothing may. ``plain``: where only programs write, one known word will do."""
    if not word.isascii():
        return None
    if (
        _ALWAYS.fullmatch(word)
        or _VARIABLE.fullmatch(word)
        or numbers.stays(word)
        or is_flag(word)
        or addresses.is_own(word)
        or releases.is_release(word)
        or vocabulary.is_device(word)
    ):
        return word
    if vocabulary.is_word(word) or vocabulary.is_identifier(word) or (plain and vocabulary.is_plain(word)):
        return word
    if "-" in word and all(vocabulary.is_word(part) or numbers.stays(part) for part in word.split("-")):
        return word
    if word[0] == "$" and vocabulary.is_plain(word.strip("${}")):
        return word
    if "/" in word:
        return paths.kept(word)
    return _joined(word, plain) if ":" in word else None


def _joined(word: str, plain: bool) -> str | None:
    """``expandable_segments:True``, ``model.py:547``."""
    parts = word.split(":")
    told = [part if not part or (part.isdigit() and len(part) < 6) else kept(part, plain) for part in parts]
    known = [part for part in told if part is not None]
    return None if len(known) < len(told) or all(part.isdigit() for part in parts if part) else ":".join(known)
