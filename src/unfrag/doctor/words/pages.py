"""The page of each rule, ``CAUSE.md`` beside it: a head with the doctor's words, and the documentation under it.

The head is TOML between two lines of ``+++``. ``CAUSE.zh.md`` is the same page in Chinese; where there is none, the
English one speaks.
"""

from __future__ import annotations

import tomllib
from functools import cache
from typing import Any

import msgspec

from unfrag.facts.finding import Severity
from unfrag.system import resources

PACKAGE = "unfrag.doctor.rules"
HEADINGS = (
    "What it does",
    "Why is this bad?",
    "Known problems",
    "Example",
    "Use instead",
    "Options",
    "Fix safety",
    "References",
)
HEADINGS_ZH = ("检查什么", "为什么有问题", "已知问题", "示例", "应该怎么做", "阈值", "修复的代价", "参考资料")
_FENCE = "+++\n"


class Fix(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing to do: the flags to ``set`` and ``why``, or ``do`` in words, with the flag to ``unset``, if any."""

    set: str = ""
    why: str = ""
    do: str = ""
    unset: str = ""

    @property
    def text(self) -> str:
        return self.do or f"{self.set}   # {self.why}"


class Supposed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to do about a cause that is only a hypothesis, and the one command that ``decide``s. Templates too."""

    fixes: tuple[str, ...]
    decide: str


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The words of a rule. Texts in ``seen``, ``meaning``, ``harmless`` and ``fixes`` are templates of ``str.format``.

    Attributes:
        sentence: the cause in a sentence.
        severity: unless the rule gives another.
        healthy: said when the rule looked and found nothing.
        meaning, harmless: one text, or several by name.
    """

    id: str
    severity: Severity
    sentence: str
    healthy: str
    meaning: str | dict[str, str]
    harmless: str | dict[str, str]
    seen: dict[str, str]
    fixes: dict[str, Fix]
    hypothesis: Supposed | None = None


@cache
def head(cause: str, language: str = "en") -> Head:
    """The head of one cause's page."""
    return msgspec.convert(tomllib.loads(_parts(cause, language)[0]), Head)


def page(cause: str, language: str = "en") -> str:
    """The page of one cause, as Markdown, without its head."""
    return _parts(cause, language)[1]


def raw(cause: str, language: str = "en") -> dict[str, Any]:
    """The head as it is written."""
    return tomllib.loads(_parts(cause, language)[0])


def has(cause: str, language: str) -> bool:
    """Is there a page in this language?"""
    return resources.exists(PACKAGE, _name(cause, language))


def _name(cause: str, language: str) -> str:
    return f"{cause}.md" if language == "en" else f"{cause}.{language}.md"


@cache
def _parts(cause: str, language: str) -> tuple[str, str]:
    name = _name(cause, language if language == "en" or has(cause, language) else "en")
    _, top, body = resources.text(PACKAGE, name).split(_FENCE, 2)
    return top, body.lstrip("\n")
