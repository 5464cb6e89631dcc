"""Advice for a running server as text: each flag with its reason and its price, and the next command."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rich.markup import escape

if TYPE_CHECKING:
    from rich.console import Console

    from unfrag.plan.tune import Tuning


def render(found: Tuning, console: Console) -> None:
    """Print it."""
    held = "unknown" if found.held_tokens is None else f"{found.held_tokens:,}"
    console.print(f"counted with {found.request_tokens:,} tokens of a request: {escape(found.source)}")
    if not found.flags:
        console.print("nothing would make the same memory hold more: its flags are right for that load")
        return
    after = "" if found.kv_tokens is None else f", {found.kv_tokens:,} with these flags"
    console.print(f"the KV cache holds {held} tokens{after}")
    for one in found.flags:
        console.print(f"\n[bold]{escape(' '.join(filter(None, (one.flag, one.value))))}[/bold]")
        console.print(f"  why:   {escape(one.why)}")
        console.print(f"  costs: {escape(one.costs)}")
    words = shlex.join(word for one in found.flags for word in (one.flag, one.value) if word is not None)
    console.print(f"\ndo: unfrag apply --config FILE -- {escape(words)}", soft_wrap=True)
    console.print("    then `unfrag bench` before and after says whether it holds", style="dim")
