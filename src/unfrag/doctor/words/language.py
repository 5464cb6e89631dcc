"""What ``diagnose`` says itself, in one table per language: ``zh.toml``. The rules' words are in their pages."""

from __future__ import annotations

import os
import tomllib
from functools import cache

import msgspec

from unfrag.system import resources

LANGUAGES = ("en", "zh")


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One language.

    Attributes:
        says: the lines of the report, as templates of ``str.format``.
        labels: what stands before a finding's lines.
        why: why nobody can call a server healthy.
        severity, source, use: the words of the findings, and of the ledger's last and first column.
        columns: the ledger's heads.
    """

    says: dict[str, str]
    labels: dict[str, str]
    why: dict[str, str]
    severity: dict[str, str]
    columns: dict[str, str]
    source: dict[str, str]
    use: dict[str, str]


@cache
def words(language: str = "en") -> Words:
    """The table of one language."""
    return msgspec.convert(tomllib.loads(resources.text("unfrag.doctor.words", f"{language}.toml")), Words)


def language(asked: str | None = None) -> str:
    """The language that was asked for; else Chinese where the locale is, and English everywhere else."""
    if asked is not None:
        return asked
    names = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    locale = next((name for name in names if name), "")
    return "zh" if locale.lower().startswith("zh") else "en"
