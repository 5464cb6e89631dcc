"""What the guard says when it starts: what is guarded, how, and who is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unfrag.guard.ways import listed

if TYPE_CHECKING:
    from pathlib import Path

    from unfrag.guard.policy import Policy
    from unfrag.guard.service import WatchedServer
    from unfrag.guard.ways import Ways

_SHOWN = 5  # servers by their names


def first_words(watched: list[WatchedServer], policy: Policy, log: Path, log_fault: str | None) -> list[str]:
    """What is guarded, how, and what another guard watches."""
    others = [one for one in watched if one.stands_by()]
    mine = [one.target.label for one in watched if one not in others]
    written = f"; written down in {log}" if log_fault is None else ""
    lines = [f"guarding {_some(mine)}: a poll every {policy.interval:g} s{written}"] if mine else []
    lines += _of_others(others)
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
    untried = ["the webhook is not tried now: unfrag guard test-page does that"] if has_webhook else []
    return [f"{none}when a human is needed it is said {listed(works)}", *found.broken, *untried]


def dry_words(log: Path, log_fault: str | None) -> list[str]:
    """The same for a dry run, which tells nobody."""
    lines = ["dry run: nothing is done, and nobody is told"]
    return lines if log_fault is None else [*lines, f"not written down in {log}: {log_fault}"]


def other_guard(pid: int | None) -> str:
    """The one that acts where this one does not."""
    return "another guard" if pid is None else f"another guard (pid {pid})"


def _of_others(watched: list[WatchedServer]) -> list[str]:
    labels: dict[int | None, list[str]] = {}
    for one in watched:
        labels.setdefault(one.holder(), []).append(one.target.label)
    after = "this one stands by and takes over when that ends"
    return [f"{other_guard(pid)} watches {_some(names)}; {after}" for pid, names in labels.items()]


def _some(labels: list[str]) -> str:
    return ", ".join(labels[:_SHOWN]) + (f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else "")
