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
    found = Ways(["here"], [])
    for name, fault in (("syslog", syslog_fault), (str(log), log_fault)):
        if fault is None:
            found.works.append(f"in {name}")
        else:
            found.broken.append(f"not in {name}: {fault}")
    return found


def listed(words: list[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
