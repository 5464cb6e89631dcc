"""A plan as text and as JSON: what a card will hold, in a picture; the flags; the line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from rich.markup import escape
from rich.table import Table

from unfrag.facts.values import Unknown
from unfrag.plan.flags import Flag
from unfrag.plan.reserved import Reserved
from unfrag.plan.search import Ask, Plan
from unfrag.reports import picture
from unfrag.units import size

if TYPE_CHECKING:
    from rich.console import Console

    from unfrag.plan.cards import Card
    from unfrag.plan.estimate import Estimate
    from unfrag.plan.replay import Replay

SCHEMA_VERSION = 1
_BAR = 48


class Sheet(msgspec.Struct, frozen=True):
    """A plan and all that is said beside it.

    Attributes:
        changes: flags that would make it fit, where it does not as asked; then ``flags`` and ``command`` have them.
        cards_needed: of the same kind, where nothing else would make it fit.
        considered: levers that were left alone.
        reserved: what a running server has reserved and does not use; None when none was asked.
    """

    plan: Plan
    flags: tuple[Flag, ...]
    command: str
    second: Plan | None
    ask: Ask
    backend: str
    changes: tuple[str, ...] = ()
    cards_needed: int | None = None
    considered: tuple[Flag, ...] = ()
    reserved: tuple[Reserved, ...] | Unknown | None = None


def printed(sheet: Sheet) -> dict[str, Any]:
    """What ``plan --json`` prints."""
    found, plan, second = sheet.plan.estimate, sheet.plan, sheet.second
    per_token = found.per_rank.kv_bytes_per_token
    return {
        "schema_version": SCHEMA_VERSION,
        "fits": found.fits,
        "reason": found.reason,
        "per_rank": found.per_rank,
        "kv_bytes_per_token_undivided": None if per_token is None else per_token * found.choice.dcp,
        "kv_cache_bytes_range": found.kv_cache_range,
        "kv_tokens": found.kv_tokens,
        "num_blocks": found.num_blocks,
        "block_size": found.block_size,
        "max_model_len": found.max_model_len,
        "max_concurrency": found.max_concurrency,
        "replicas": plan.replicas,
        "workload": sheet.ask.workload,
        "requests_at_once": plan.requests,
        "tpot_floor_seconds": plan.tpot_floor,
        "enough": plan.enough,
        "flags": sheet.flags,
        "command": sheet.command,
        "would_fit_with": sheet.changes,
        "cards_needed": sheet.cards_needed,
        "considered": sheet.considered,
        "runner_up": None
        if second is None
        else {"choice": second.estimate.choice, "requests_at_once": second.requests, "why_not": _why_not(plan, second)},
        "reserved_and_unused": None if isinstance(sheet.reserved, Unknown) else sheet.reserved,
        "notes": found.notes,
        "backend": sheet.backend,
    }


def render(sheet: Sheet, explain: bool, console: Console) -> None:
    """Print it."""
    found, card = sheet.plan.estimate, sheet.ask.card
    verdict = {True: "[green]fits[/green]", False: "[red]does not fit[/red]", None: "cannot be said"}[found.fits]
    console.print(
        f"{sheet.ask.count} x {escape(card.name)} of {size(card.memory_bytes)}: {verdict}. {escape(found.reason)}"
    )
    if sheet.changes:
        console.print(f"it would with {escape(' '.join(sheet.changes))}, as in the line below")
    if sheet.cards_needed:
        console.print(f"{sheet.cards_needed} of these cards would be enough: --gpu-count {sheet.cards_needed}")
    refused = [note for note in found.notes if "vLLM refuses" in note]
    for note in refused:
        console.print(f"[yellow]careful: {escape(note)}[/yellow]")
    console.print()
    console.print(_picture(found, card))
    _capacity(sheet, console)
    console.print()
    for flag in sheet.flags:
        _flag(flag, explain, console)
    console.print(f"\n{escape(sheet.command)}")
    if sheet.plan.servers > 1:
        console.print(f"start it {sheet.plan.servers} times, each with cards and a port of its own", style="dim")
    if sheet.second is not None:
        how = escape(_how(sheet.second))
        console.print(f"\nnext best: {how}; {_why_not(sheet.plan, sheet.second)}", style="dim")
    if sheet.considered:
        console.print("\nleft alone:")
        for flag in sheet.considered:
            console.print(f"  {flag.flag}: {escape(flag.why)}", style="dim")
    _reserved(sheet.reserved, console)
    for note in found.notes:
        if note in refused:
            continue
        console.print(f"note: {escape(note)}", style="dim")
    console.print(
        f"not verified on this card: computed from the configuration ({sheet.backend}), no weight was loaded",
        style="dim",
    )


def _capacity(sheet: Sheet, console: Console) -> None:
    """Tokens and requests, and what they mean for the workload."""
    found, plan, load = sheet.plan.estimate, sheet.plan, sheet.ask.workload
    if found.kv_tokens is None or found.max_concurrency is None:
        return
    each = "" if plan.replicas == 1 else f" in each of {plan.replicas} replicas"
    console.print(
        f"\n{found.kv_tokens:,} tokens of KV, {found.num_blocks:,} blocks of {found.block_size}{_each(found)}: "
        f"{found.max_concurrency:.2f} requests of {found.max_model_len:,} tokens at once{each}"
    )
    if load.request_tokens and plan.requests is not None:
        shared = f", {load.shared:.0%} of prompts shared" if load.shared else ""
        console.print(
            f"{plan.requests:.1f} requests of this workload ({escape(load.source)}: {load.request_tokens:,} tokens "
            f"held by each{shared})"
        )
    if plan.why:
        console.print(f"[yellow]not enough: {escape(plan.why)}[/yellow]")
    elif plan.enough:
        console.print(f"enough for the {load.concurrency} at once that are asked for")
    if plan.tpot_floor is not None and load.prompt is not None:
        console.print(
            f"a token takes at least {plan.tpot_floor * 1000:.1f} ms when full, by memory bandwidth; "
            "time to first token is not estimated: measure it with unfrag bench",
            style="dim",
        )


def _flag(flag: Flag, explain: bool, console: Console) -> None:
    value = "" if flag.value is None else f" {flag.value}"
    saving = f": {flag.saving}" if flag.saving else ""
    console.print(f"  {flag.flag}{escape(value)}   {escape(flag.why + saving)}")
    if explain and flag.cost:
        console.print(f"      costs: {escape(flag.cost)}", style="dim")
    if explain and flag.not_when:
        console.print(f"      not when: {escape(flag.not_when)}", style="dim")


def _how(plan: Plan) -> str:
    chosen = plan.estimate.choice
    parts = [f"tensor {chosen.tp}"]
    parts += [f"data {chosen.dp} with divided experts"] if chosen.dp > 1 else []
    parts += [f"pipeline {chosen.pp}"] if chosen.pp > 1 else []
    parts += [f"{plan.servers} servers"] if plan.servers > 1 else []
    parts += [f"decode context {chosen.dcp}"] if chosen.dcp > 1 else []
    return ", ".join([*parts, f"KV {chosen.kv_dtype or 'as the model'}"])


def _why_not(best: Plan, other: Plan) -> str:
    """What the runner-up does worse."""
    if other.why and not best.why:
        return other.why
    held = f"{other.requests or 0:.1f} requests at once instead of {best.requests or 0:.1f}"
    if (other.requests or 0) >= (best.requests or 0):
        return f"{held}, for more moving parts"
    return held


def _reserved(found: tuple[Reserved, ...] | Unknown | None, console: Console) -> None:
    if found is None:
        return
    console.print("\nreserved by the running server and not used:")
    if isinstance(found, Unknown):
        console.print(f"  not known: {escape(found.why)}")
        return
    for item in found:
        console.print(f"  {size(item.bytes)}  {escape(item.what)}. {escape(item.do)}")
    if not found:
        console.print("  nothing worth naming")


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
    table = Table(box=None, pad_edge=False, title=f"each card, {size(card.memory_bytes)}", title_justify="left")
    for name, side in (("use", "left"), ("bytes", "right"), ("share", "left")):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    for part in picture.parts(plan, card):
        if part.bytes is None:
            table.add_row(part.what, "unknown", "")
            continue
        share = part.bytes / card.memory_bytes
        table.add_row(part.what, size(part.bytes), "█" * round(min(1.0, share) * _BAR) + f" {share:.1%}")
    return table


def _each(found: Estimate) -> str:
    """Where ranks hold different tokens."""
    return f" on each of {found.choice.dcp} ranks" if found.choice.dcp > 1 else ""
