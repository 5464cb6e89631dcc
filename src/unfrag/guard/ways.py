"""The ways by which a page reaches somebody: those that work, and of the others why they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class Ways(NamedTuple):
    """``works`` as in "it is said here and in FILE"; ``broken`` is a line for each."""

    works: list[str]
    broken: list[str]

    @property
    def nobody(self) -> bool:
        """Only who looks at the guard itself sees it."""
        return len(self.works) == 1


def ways(log: Path, log_fault: str | None, syslog_fault: str | None) -> Ways:
    """Without the webhook. The faults say why the way does not work; None: it does."""
    tried = (("syslog", syslog_fault, ""), (str(log), log_fault, "; --log names another file"))
    works = [f"in {name}" for name, fault, _ in tried if fault is None]
    broken = [f"not in {name}: {fault}{hint}" for name, fault, hint in tried if fault is not None]
    return Ways(["here", *works], broken)


def listed(words: list[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
