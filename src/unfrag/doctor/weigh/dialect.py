"""Advice is written in vLLM's flags; for another engine it is said in that one's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from unfrag.doctor.weigh import evidence
from unfrag.flags.engines import engines, in_vllm, spelled_by

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

_VLLM_ONLY = re.compile(
    r"--(?:kv-transfer-config|decode-context-parallel-size|kv-offloading-size|max-logprobs|limit-mm)|unfrag flush"
)


class Dialect(msgspec.Struct, frozen=True):
    """How an engine spells vLLM's flags; ``only_vllm``: what it has no word for is left unsaid."""

    words: dict[str, str]
    only_vllm: bool

    def say(self, text: str) -> str | None:
        """The text in this engine's words; None where only vLLM has such a thing."""
        if self.only_vllm and _VLLM_ONLY.search(text):
            return None
        for ours, theirs in self.words.items():
            text = text.replace(ours, theirs)
        return text


def of(snapshot: Snapshot) -> Dialect:
    """That of the engine at hand."""
    engine = _engine(snapshot)
    return Dialect({}, only_vllm=False) if engine == "vllm" else Dialect(spelled_by(engine), only_vllm=True)


def vllms_name(flag: str) -> str:
    """vLLM's flag for another engine's; the same where it has no other name."""
    return in_vllm().get(flag, flag)


def _engine(snapshot: Snapshot) -> str:
    said = snapshot.engine.lower() if isinstance(snapshot.engine, str) else ""
    line = evidence.command(snapshot)
    others = (name for name in engines() if name != "vllm")
    return next((name for name in others if name in said or name in line), "vllm")
