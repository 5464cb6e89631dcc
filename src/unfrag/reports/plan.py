"""A plan as text and as JSON: what a card will hold, in a picture; the flags; the line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from rich.markup import escape
from rich.table import Table

from unfrag.reports import size

if TYPE_CHECKING:
    from rich.console import Console

    from unfrag.plan.cards import Card
    from unfrag.plan.estimate import Estimate
    from unfrag.plan.flags import Flag
    from unfrag.plan.replay import Replay

SCHEMA_VERSION = 1
_BAR = 48


def printed(
    plan: Estimate, flags: tuple[Flag, ...], command: str, second: Estimate | None, backend: str
) -> dict[str, Any]:
    """What ``plan --json`` prints."""
    return {
        "schema_version": SCHEMA_VERSION,
        "fits": plan.fits,
        "reason": plan.reason,
        "per_rank": plan.per_rank,
        "kv_bytes_per_token_undivided": None
        if plan.per_rank.kv_bytes_per_token is None
        else plan.per_rank.kv_bytes_per_token * plan.choice.dcp,
        "kv_cache_bytes_range": plan.kv_cache_range,
        "kv_tokens": plan.kv_tokens,
        "num_blocks": plan.num_blocks,
        "block_size": plan.block_size,
        "max_model_len": plan.max_model_len,
        "max_concurrency": plan.max_concurrency,
        "flags": flags,
        "command": command,
        "runner_up": None if second is None else {"choice": second.choice, "max_concurrency": second.max_concurrency},
        "notes": plan.notes,
        "backend": backend,
    }


def render(
    plan: Estimate,
    flags: tuple[Flag, ...],
    command: str,
    second: Estimate | None,
    card: Card,
    count: int,
    explain: bool,
    backend: str,
    console: Console,
) -> None:
    """Print it."""
    verdict = {True: "[green]fits[/green]", False: "[red]does not fit[/red]", None: "cannot be said"}[plan.fits]
    console.print(f"{count} x {escape(card.name)} of {size(card.memory_bytes)}: {verdict}. {escape(plan.reason)}")
    console.print()
    console.print(_picture(plan, card))
    if plan.kv_tokens is not None and plan.max_concurrency is not None:
        console.print(
            f"\n{plan.kv_tokens:,} tokens of KV, {plan.num_blocks:,} blocks of {plan.block_size}: "
            f"{plan.max_concurrency:.2f} requests of {plan.max_model_len:,} tokens at once"
        )
    console.print()
    for flag in flags:
        value = "" if flag.value is None else f" {flag.value}"
        console.print(f"  {flag.flag}{escape(value)}   {escape(flag.why)}")
        if explain and flag.cost:
            console.print(f"      costs: {escape(flag.cost)}", style="dim")
        if explain and flag.not_when:
            console.print(f"      not when: {escape(flag.not_when)}", style="dim")
    console.print(f"\n{escape(command)}")
    if second is not None and second.max_concurrency is not None:
        kv = second.choice.kv_dtype or "as the model"
        how = f"tensor {second.choice.tp}, decode context {second.choice.dcp}, KV {kv}"
        console.print(f"\nnext best: {how}: {second.max_concurrency:.2f} at once", style="dim")
    for note in plan.notes:
        console.print(f"note: {escape(note)}", style="dim")
    console.print(
        f"not verified on this card: computed from the configuration ({backend}), no weight was loaded", style="dim"
    )


def render_replay(replay: Replay, console: Console) -> None:
    """What a trace met in the plan's pool, a line for each server."""
    table = Table(box=None, pad_edge=False, title="\nthe trace in this pool", title_justify="left")
    for name in ("server", "requests", "prefix hits", "occupancy mean", "peak", "preemptions", "most at once", "wait"):
        table.add_column(name, justify="right")
    for number, one in enumerate(replay.instances):
        table.add_row(
            str(number),
            f"{one.finished:,} of {one.requests:,}",
            f"{one.hit_rate:.1%}",
            f"{one.mean_occupancy:.1%}",
            f"{one.peak_occupancy:.1%}",
            f"{one.preemptions:,}",
            str(one.most_running),
            f"{one.mean_wait_seconds:.1f} s",
        )
    console.print(table)
    console.print(f"prefix hits over all: {replay.hit_rate:.1%}, preemptions: {replay.preemptions:,}")


def _picture(plan: Estimate, card: Card) -> Table:
    """One bar a card: weights, activation, graphs, outside PyTorch, KV, and what utilisation leaves."""
    rank = msgspec.structs.asdict(plan.per_rank)
    parts = [
        ("weights", rank["weights_bytes"]),
        ("activation peak", rank["activation_bytes"]),
        ("CUDA graphs", rank["cuda_graph_bytes"]),
        ("outside PyTorch", rank["non_torch_bytes"]),
        ("KV cache", rank["kv_cache_bytes"]),
    ]
    table = Table(box=None, pad_edge=False, title=f"each card, {size(card.memory_bytes)}", title_justify="left")
    for name, side in (("use", "left"), ("bytes", "right"), ("share", "left")):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    for what, held in parts:
        if held is None:
            table.add_row(what, "unknown", "")
            continue
        share = held / card.memory_bytes
        table.add_row(what, size(held), "█" * round(max(0.0, min(1.0, share)) * _BAR) + f" {share:.1%}")
    known = sum(held for _, held in parts if held)
    table.add_row("left free", size(card.memory_bytes - known), "")
    return table
