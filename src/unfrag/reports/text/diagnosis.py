"""A diagnosis as text: the verdict, where the bytes are, what was found, what is healthy, what is unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from unfrag.facts.values import NOT_GIVEN
from unfrag.units import size

if TYPE_CHECKING:
    from rich.console import Console

    from unfrag.doctor.diagnosis import Diagnosis
    from unfrag.doctor.ledger import Card
    from unfrag.facts.finding import Finding

_COLOUR = {"critical": "red", "warning": "yellow", "info": "cyan"}
_BAR = 24
_IN_FULL = 3


def render(diagnosis: Diagnosis, console: Console) -> None:
    """Print it."""
    console.print(f"[bold]{escape(diagnosis.target)}[/bold]: {_verdict(diagnosis)}")
    for card in diagnosis.ledger or ():
        console.print()
        console.print(_card(card))
    for finding in diagnosis.findings[:_IN_FULL]:
        _finding(finding, console)
    if rest := diagnosis.findings[_IN_FULL:]:
        console.print("\nalso possible: " + ", ".join(f"{f.id} {f.cause} ({f.confidence:.0%})" for f in rest))
    if diagnosis.healthy and diagnosis.verdict != "healthy":
        console.print(f"\n[green]healthy[/green]: {len(diagnosis.healthy)} other checks found nothing", style="dim")
    elif diagnosis.healthy:
        console.print("\n[green]healthy[/green]")
        for line in diagnosis.healthy:
            console.print(f"  {escape(line)}")
    reasons = [missing for missing in diagnosis.unknown if missing.why != NOT_GIVEN]
    silent = [missing.fact for missing in diagnosis.unknown if missing.why == NOT_GIVEN]
    if reasons or silent:
        console.print("\nunknown", style="dim")
    for missing in reasons:
        console.print(f"  {missing.fact}: {escape(missing.why)}", style="dim")
    if silent:
        console.print(f"  {NOT_GIVEN}: {', '.join(silent)}", style="dim")


def _finding(finding: Finding, console: Console) -> None:
    """What was seen, what it means, when it is harmless, what to do."""
    colour = _COLOUR[finding.severity]
    console.print(
        f"\n[{colour}]{finding.severity}[/{colour}] {finding.id} {finding.cause}, confidence {finding.confidence:.0%}"
    )
    console.print(f"  {escape(finding.summary)}")
    if finding.meaning:
        console.print(f"  {escape(finding.meaning)}")
    for line in finding.evidence:
        console.print(f"  seen:     {escape(line)}", style="dim")
    if finding.harmless:
        console.print(f"  harmless: {escape(finding.harmless)}", style="dim")
    for line in finding.fixes:
        console.print(f"  do:       {escape(line)}")
    console.print(f"  more:     unfrag explain {finding.id}", style="dim")


def _verdict(diagnosis: Diagnosis) -> str:
    if diagnosis.verdict == "healthy":
        return "[green]healthy[/green], as far as could be seen"
    if diagnosis.verdict == "unknown":
        return f"unknown: {diagnosis.why}"
    best = diagnosis.findings[0]
    return f"[{_COLOUR[best.severity]}]{best.cause}[/{_COLOUR[best.severity]}]"


def _card(card: Card) -> Table:
    table = Table(
        title=f"{escape(card.name)}: {size(card.total_bytes)}", title_justify="left", box=None, pad_edge=False
    )
    for name, side in (("use", "left"), ("bytes", "right"), ("share", "left"), ("known by", "left")):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    for line in card.lines:
        share = line.bytes / card.total_bytes if card.total_bytes else 0.0
        bar = "█" * round(max(0.0, min(1.0, share)) * _BAR)
        table.add_row(escape(line.what), size(line.bytes), f"{bar} {share:.1%}", line.source)
    return table
