"""Paths, and addresses that have one: known parts stay, and a gap stands for each that is yours."""

from __future__ import annotations

from unfrag.doctor.allowed import addresses, numbers, releases, vocabulary

GAP = "…"
_SITES = ("github.com/vllm-project/", "docs.vllm.ai", "pytorch.org/docs/", "huggingface.co/docs/", "docs.nvidia.com/")
_MOST_PARTS, _LONGEST = 40, 160
_SOURCES = ("py", "so", "cpp", "cu", "cuh", "h", "cc", "c", "rs", "pyx", "toml", "sock")
_FILES = ("json", "log", "txt")
# Below these only programs name folders.
_PACKAGES = (
    "vllm",
    "torch",
    "transformers",
    "triton",
    "sglang",
    "lmdeploy",
    "unfrag",
    "site-packages",
    "dist-packages",
)
_ROUTES = frozenset(
    "chat completions v1 v2 models embeddings generate health metrics ping tokenize detokenize version rerank score responses "
    "flush_cache memory dev shm nvidiactl nvidia0 nvidia1 nvidia2 nvidia3 nvidia4 nvidia5 nvidia6 nvidia7 nvidia-uvm csrc c10 aten".split()
)


def kept(word: str) -> str | None:
    """What of it may stay; None when nothing of it is known."""
    if any(word.split("://", 1)[-1].startswith(site) for site in _SITES):
        return word if len(word) < _LONGEST else None
    if "@" in word:
        return None
    return _url(word) if "://" in word else _path(word)


def _url(word: str) -> str | None:
    """Of this machine: ``http://127.0.0.1:8000/health``, ``ipc:///tmp/…``."""
    scheme, _, rest = word.partition("://")
    host, slash, path = rest.partition("/")
    if addresses.is_own(f"{scheme}://{host}") or (scheme in ("ipc", "file", "unix") and not host):
        return f"{scheme}://{host}{_path(slash + path) or slash + GAP}"
    return None


def _path(word: str) -> str | None:
    parts = word.split("/")
    if len(parts) > _MOST_PARTS:
        return None
    inside = next((at + 1 for at, part in enumerate(parts) if part in _PACKAGES), len(parts))
    told = [
        part if not part or _is_part(part) or (at >= inside and vocabulary.is_plain(part)) else GAP
        for at, part in enumerate(parts)
    ]
    strange, named = told.count(GAP), sum(bool(part) for part in told)
    return None if strange == named else "/".join(told)


def _is_part(part: str) -> bool:
    if ":" in part:  # an image with its tag
        image, _, tag = part.partition(":")
        return _is_part(image) and all(map(_is_of_tag, tag.split("-")))
    stem, dot, ending = part.rpartition(".")
    is_source = bool(dot) and ending in _SOURCES and vocabulary.is_plain(stem)
    return is_source or vocabulary.is_folder(part) or part in _ROUTES or _is_known(part)


def _is_known(word: str) -> bool:
    known = vocabulary.is_word(word) or vocabulary.is_identifier(word)
    return known or releases.is_version(word) or releases.is_release(word)


def _is_of_tag(word: str) -> bool:
    """``v0.11.0``, ``25.08``, ``py3``, ``latest``."""
    return vocabulary.is_word(word) or numbers.stays(word) or releases.is_platform(word)
