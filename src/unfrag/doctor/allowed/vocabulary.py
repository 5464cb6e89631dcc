"""Which words may stand in a capture: those that vLLM and its kin use, and names of models, cards and programs."""

from __future__ import annotations

import re
from functools import cache, lru_cache

from unfrag.flags.check import LISTED
from unfrag.system import resources

_PIECE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")
_JOINED = re.compile(r"[A-Za-z0-9]+(?:[-_.:+/*]+[A-Za-z0-9]+)*")
_NEVER = frozenset(
    "secret secrets password passwords passwd passphrase pwd canary credential credentials private fake my your our "
    "customer patient person people invoice salary diagnosis confidential internal".split()
)
_VARIANT = re.compile(r"\d{1,2}[a-z]|[a-z]\d{0,2}|pcie|sxm\d?|nvl\d{0,3}|\d{1,4}gb?|\d{1,3}[qc]|hbm\d?e?")
_MAKERS = ("nvidia", "amd", "intel", "tesla", "quadro", "radeon", "ascend")
_LONGEST, _MOST_VARIANTS = 240, 3
_WORD = 3  # letters; shorter pieces prove nothing
_DIGITS = 6


@cache
def _parts() -> dict[str, frozenset[str]]:
    """The parts of ``names.txt``."""
    found: dict[str, set[str]] = {}
    part = ""
    for line in resources.text("unfrag.doctor.allowed", "names.txt").splitlines():
        if line.startswith("["):
            part = line.strip("[]")
        elif not line.startswith("#"):
            found.setdefault(part, set()).update(line.split())
    return {name: frozenset(words) for name, words in found.items()}


@cache
def _pieces() -> frozenset[str]:
    return (
        frozenset(resources.text("unfrag.doctor.allowed", f"pieces-{LISTED[-1]}.txt").split())
        | names()
        | _parts()["pieces"]
    ) - _NEVER


@cache
def _packages() -> frozenset[str]:
    needed = frozenset(resources.text("unfrag.doctor.allowed", f"packages-{LISTED[-1]}.txt").split())
    return needed | _parts()["packages"] | _parts()["words"]


def names() -> frozenset[str]:
    """Of models, their makers, and what their variants are called."""
    return _parts()["names"]


def is_unit(word: str) -> bool:
    """May a number stand before it?"""
    return word.lower() in _parts()["units"]


def is_folder(word: str) -> bool:
    """Is it a usual part of a path, that says nothing of who owns it?"""
    return word.lower() in _parts()["paths"] or bool(re.fullmatch(r"python3(?:\.\d+)?", word))


def is_word(word: str) -> bool:
    """Does it stand for itself: an engine, a card, a number format?"""
    return word.lower() in _parts()["words"] or is_card(word) or is_name(word)


def is_card(word: str) -> bool:
    """``L40S``, ``H20-3e``, ``A100-SXM4-80GB``."""
    name, *variants = word.lower().split("-")
    cards = _parts()["cards"]
    varied = name in cards and len(variants) <= _MOST_VARIANTS and all(map(_VARIANT.fullmatch, variants))
    return varied or word.lower() in cards


def is_device(word: str) -> bool:
    """A card's name in one word: ``NVIDIA_RTX_PRO_6000_Blackwell_Server_Edition``."""
    maker, *parts = word.split("_")
    known = (
        is_word(part) or _VARIANT.fullmatch(part.lower()) or (part.isdigit() and len(part) <= _WORD + 1)
        for part in parts
    )
    return maker.lower() in _MAKERS and bool(parts) and all(known)


def is_package(word: str) -> bool:
    """A package that vLLM needs, or a library, whether written with hyphens or underscores."""
    return word.lower().replace("_", "-") in _packages()


@lru_cache(1 << 16)
def is_name(word: str) -> bool:
    """Is it a model's name, or a part of one: ``Qwen3-30B-A3B``, ``ms-marco-MiniLM-L6``?"""
    if len(word) > _LONGEST or not _JOINED.fullmatch(word):
        return False
    parts = [part.lower() for part in re.split(r"[-_.:+/]+", word)]
    named = any(part in names() or part.rstrip("0123456789") in names() for part in parts)
    return named and _all_known(word)


@lru_cache(1 << 16)
def is_identifier(word: str) -> bool:
    """Is it made of several words that programs use: ``max_num_seqs``, ``CUDAGraphMode``, ``vllm.v1.core``?

    Words joined by hyphens alone read like a passphrase; they are known as flags and as names only.
    """
    bare = word.lstrip("-_").rstrip("_")
    if len(bare) > _LONGEST or not _JOINED.fullmatch(bare):
        return False
    words = [piece for piece in _PIECE.findall(bare) if len(piece) >= _WORD and not piece.isdigit()]
    several = sum(piece[0].isalpha() for piece in _PIECE.findall(bare)) > 1  # abc123 is no identifier
    joined = several and ("-" not in bare or word.startswith("--"))
    return joined and bool(words) and _all_known(bare)


def is_plain(word: str) -> bool:
    """Is it made of known words, be it one alone? For places where only programs write."""
    return _all_known(word.strip("_")) if _JOINED.fullmatch(word.strip("_")) else False


def _all_known(word: str) -> bool:
    found = _PIECE.findall(word)
    letters = [piece.lower() for piece in found if not piece.isdigit()]
    if not letters or any(len(piece) > _DIGITS for piece in found if piece.isdigit()):
        return False
    joined = [part.lower() for part in re.split(r"[-_.:+/*0-9]+", word) if part]
    if all(part in _pieces() or part in names() for part in joined if len(part) > 1):
        letters = joined  # MiniLM, GLM: known as they are
    known = [piece for piece in letters if piece in _pieces() and piece not in _NEVER]
    strange = [piece for piece in letters if piece not in known and len(piece) > 1]
    proof = sum(len(piece) for piece in known if len(piece) >= _WORD or piece in names())
    return not strange and 2 * proof >= sum(len(piece) for piece in letters if len(piece) > 1)
