"""One word of a line, by itself: what of it may stay."""

from __future__ import annotations

import re
from functools import lru_cache

from unfrag.allowed import vocabulary
from unfrag.own_flags import FLAGS
from unfrag.probes.launch import ALIASES
from unfrag.vllm_flags import LISTED, NEVER, known

GAP = "…"
NUMBER = re.compile(r"[-+~≈]?\d[\d,._]*")
_WITH_UNIT = re.compile(r"[-+~≈]?\d{1,15}(?:[.,]\d{1,9}){0,6}(?P<unit>[A-Za-z%°/]{1,10})")
_DECIMAL = re.compile(r"[-+]?\d{1,9}\.\d{1,9}(?:e[-+]?\d{1,3})?")
_VERSION = re.compile(
    r"v?\d{1,4}(?:\.\d{1,4}){1,2}(?:[.-]?(?:rc|post|dev|a|b|cu|rocm|cpu)\d{0,6})*(?:\+(?:cu|rocm|cpu|g|precompiled)[0-9a-f.]{0,12})?"
)
_ADDRESS = re.compile(r"(?:https?://)?(?:127\.0\.0\.1|0\.0\.0\.0|localhost|\[?::1?\]?)(?::\d{1,5})?/?")
_ALWAYS = re.compile(
    r"0x[0-9a-fA-F]{1,16}|python3(?:\.\d{1,2})?|\d\d:\d\d(?::\d\d)?(?:[.,]\d{1,6})?|(?:GPU|MIG)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f]|\d{1,2}[x×*]|(?:GPU|NPU|cuda|rank|RANK|node|DP|TP|EP|PP|GB|sm_?|cu|nccl)[:_]?\d{1,3}[a-z]?"
    r"|(?:eth|eno|ens|enp|ib|ibp|bond|docker|br|lo|mlx5_|hfi1_)\d{0,3}|[-+*/=:.#~^|_@$%&\\]+|\d{1,3}/\d{1,3}"
)
_VARIABLE = re.compile(
    r"(?:VLLM|NCCL|CUDA|TORCH|PYTORCH|HF|TRANSFORMERS|OMP|MKL|LMCACHE|SGLANG|SGL|UCX|GLOO|NVIDIA|RAY|TRITON|FLASHINFER|NVSHMEM|MC|UNFRAG|PYTHON|LD)_[A-Z0-9_]{2,60}"
)
_SITES = ("github.com/vllm-project/", "docs.vllm.ai", "pytorch.org/docs/", "huggingface.co/docs/", "docs.nvidia.com/")
_SHORT_FLAG = re.compile(r"-(?:tp|pp|dp|dcp|pcp|ep|q|m|e|v|p|i|t|d|it|c)")


@lru_cache(1)
def flags() -> frozenset[str]:
    """Every flag of a listed vLLM, of unfrag, and of its kin."""
    return frozenset({*FLAGS, *NEVER, *ALIASES}).union(*map(known, LISTED))


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


def number_stays(word: str) -> bool:
    """With its unit, or broken: ``12.5k``, ``48GiB``, ``0.92``."""
    unit = _WITH_UNIT.fullmatch(word)
    return bool(unit and vocabulary.is_unit(unit["unit"])) or bool(_DECIMAL.fullmatch(word) or _VERSION.fullmatch(word))


@lru_cache(1 << 16)
def kept(word: str, plain: bool = False) -> str | None:
    """What of a word may stay; None when nothing may. ``plain``: where only programs write, one known word will do."""
    if not word.isascii():
        return None
    if (
        _ALWAYS.fullmatch(word)
        or _VARIABLE.fullmatch(word)
        or number_stays(word)
        or is_flag(word)
        or _ADDRESS.fullmatch(word)
    ):
        return word
    if vocabulary.is_word(word) or vocabulary.is_identifier(word) or (plain and vocabulary.is_plain(word)):
        return word
    if any(word.split("://", 1)[-1].startswith(site) for site in _SITES):
        return word.split("?", maxsplit=1)[0] if len(word) < 160 else None
    if "-" in word and all(vocabulary.is_word(part) or number_stays(part) for part in word.split("-")):
        return word
    if word[0] == "$" and vocabulary.is_plain(word.strip("${}")):
        return word
    if "/" in word and "@" not in word and "://" not in word:
        return _path(word)
    if ":" in word and "://" not in word:
        return _joined(word, plain)
    return None


def _joined(word: str, plain: bool) -> str | None:
    """``expandable_segments:True``, ``vllm/vllm-openai:v0.11.0``, ``model.py:547``."""
    parts = word.split(":")
    told = [part if not part or (part.isdigit() and len(part) < 6) else kept(part, plain) for part in parts]
    known = [part for part in told if part is not None]
    return None if len(known) < len(told) or all(part.isdigit() for part in parts if part) else ":".join(known)


def _path(word: str) -> str | None:
    """A path with its strange parts left out; None when nothing of it is known."""
    parts = word.split("/")
    if len(parts) > 40:
        return None
    told = [part if not part or _is_part(part) else GAP for part in parts]
    strange, named = told.count(GAP), sum(bool(part) for part in told)
    return None if strange == named else "/".join(told)


def _is_part(part: str) -> bool:
    stem, dot, ending = part.rpartition(".")
    is_file = bool(dot) and ending in (
        "py",
        "so",
        "cpp",
        "cu",
        "cuh",
        "h",
        "cc",
        "c",
        "rs",
        "pyx",
        "json",
        "log",
        "toml",
        "sock",
        "txt",
    )
    return (
        vocabulary.is_folder(part)
        or vocabulary.is_word(part)
        or vocabulary.is_identifier(part)
        or (is_file and ending not in ("json", "log", "txt") and vocabulary.is_plain(stem))
        or bool(_VERSION.fullmatch(part))
        or part in _ROUTES
    )


_ROUTES = frozenset(
    "chat completions v1 v2 models embeddings generate health metrics ping tokenize detokenize version rerank score responses "
    "flush_cache memory dev shm nvidiactl nvidia0 nvidia1 nvidia2 nvidia3 nvidia4 nvidia5 nvidia6 nvidia7 nvidia-uvm csrc c10 aten".split()
)
