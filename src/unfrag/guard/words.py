"""What the guard says when it starts: what is guarded, how, and who is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unfrag.guard.ways import listed

if TYPE_CHECKING:
    from pathlib import Path

    from unfrag.guard.policy import Policy
    from unfrag.guard.ways import Ways

_SHOWN = 5  # servers by their names


def first_words(labels: list[str], policy: Policy, log: Path, log_fault: str | None) -> list[str]:
    """What is guarded, and how."""
    written = f"; written down in {log}" if log_fault is None else ""
    lines = [f"guarding {_some(labels)}: a look every {policy.interval:g} s{written}"]
    if policy.empties_cache:
        lines.append(
            "this policy flushes the whole prefix cache: every prompt that shared a prefix is computed anew then"
        )
    if policy.restart_full_cards:
        lines.append("this policy restarts servers whose card is full, as vLLM fills it by design: docs/guard.md")
    return lines


def who_is_told(found: Ways, has_webhook: bool, has_metrics: bool) -> list[str]:
    """By which ways a page goes, and which others do not work."""
    works = [*found.works, *(["to the webhook"] if has_webhook else []), "by `unfrag guard status` (exit 1)"]
    works += ["in unfrag_guard_human_needed"] if has_metrics else []
    none = "" if has_webhook else "no --webhook: "
    return [f"{none}when a human is needed it is said {listed(works)}", *found.broken]


def dry_words(log: Path, log_fault: str | None) -> list[str]:
    """The same for a dry run, which tells nobody."""
    lines = ["dry run: nothing is done, and nobody is told"]
    return lines if log_fault is None else [*lines, f"not written down in {log}: {log_fault}"]


def _some(labels: list[str]) -> str:
    return ", ".join(labels[:_SHOWN]) + (f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else "")
