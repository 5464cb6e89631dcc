"""A diagnosis as text: the verdict, where the bytes are, what was found, what is healthy, what is unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.markup import escape
from rich.table import Table

from unfrag.doctor.words.language import words as words_of
from unfrag.facts.values import NOT_GIVEN
from unfrag.units import size

if TYPE_CHECKING:
    from rich.console import Console

    from unfrag.doctor.diagnosis import Diagnosis
    from unfrag.doctor.ledger import Card
    from unfrag.doctor.words.language import Words
    from unfrag.facts.finding import Finding

_COLOUR = {"critical": "red", "warning": "yellow", "info": "cyan"}
_BAR = 24
_IN_FULL = 3


def render(diagnosis: Diagnosis, console: Console, language: str = "en") -> None:
    """Print it."""
    words = words_of(language)
    says = words.says
    console.print(f"[bold]{escape(diagnosis.target)}[/bold]: {_verdict(diagnosis, says)}")
    for card in diagnosis.ledger or ():
        console.print()
        console.print(_card(card, words))
    for finding in diagnosis.findings[:_IN_FULL]:
        _finding(finding, console, words)
    if rest := diagnosis.findings[_IN_FULL:]:
        each = [says["also_one"].format(id=f.id, cause=f.cause, confidence=f.confidence) for f in rest]
        console.print("\n" + says["also"].format(findings=says["between"].join(each)))
    if diagnosis.healthy and diagnosis.verdict != "healthy":
        others = says["others"].format(count=len(diagnosis.healthy))
        console.print(f"\n[green]{says['others_head']}[/green]{others}", style="dim")
    elif diagnosis.healthy:
        console.print(f"\n[green]{says['healthy_head']}[/green]")
        for line in diagnosis.healthy:
            console.print(f"  {escape(line)}")
    _unknown(diagnosis, console, says)


def _unknown(diagnosis: Diagnosis, console: Console, says: dict[str, str]) -> None:
    """What could not be had, with the reason; in one line what nobody gave."""
    reasons = [missing for missing in diagnosis.unknown if missing.why != NOT_GIVEN]
    silent = [missing.fact for missing in diagnosis.unknown if missing.why == NOT_GIVEN]
    if reasons or silent:
        console.print(f"\n{says['unknown_head']}", style="dim")
    for why in dict.fromkeys(missing.why for missing in reasons):  # one reason may stand behind many facts
        facts = says["between"].join(missing.fact for missing in reasons if missing.why == why)
        console.print(f"  {says['fact'].format(fact=facts, why=escape(why))}", style="dim")
    if silent:
        console.print(f"  {says['not_given'].format(facts=says['between'].join(silent))}", style="dim")


def _finding(finding: Finding, console: Console, words: Words) -> None:
    """What was seen, what it means, when it is harmless, what to do."""
    labels, colour = words.labels, _COLOUR[finding.severity]
    width = max(map(cell_len, labels.values())) + 1
    before = {name: f"  {set_cell_size(label, width)}" for name, label in labels.items()}
    severity = f"[{colour}]{words.severity[finding.severity]}[/{colour}]"
    head = words.says["finding"].format(id=finding.id, cause=finding.cause, confidence=finding.confidence)
    console.print(f"\n{severity} {head}")
    console.print(f"  {escape(finding.summary)}")
    if finding.meaning:
        console.print(f"  {escape(finding.meaning)}")
    for line in finding.evidence:
        console.print(f"{before['seen']}{escape(line)}", style="dim")
    if finding.harmless:
        console.print(f"{before['harmless']}{escape(finding.harmless)}", style="dim")
    for line in finding.fixes:
        console.print(f"{before['do']}{escape(line)}")
    console.print(f"{before['more']}{words.says['more'].format(id=finding.id)}", style="dim")


def _verdict(diagnosis: Diagnosis, says: dict[str, str]) -> str:
    if diagnosis.verdict == "healthy":
        return f"[green]{says['healthy']}[/green]{says['as_far']}"
    if diagnosis.verdict == "unknown":
        return says["unknown"].format(why=diagnosis.why)
    best = diagnosis.findings[0]
    cause = says["perhaps"].format(cause=best.cause) if best.certainty == "possible" else best.cause
    return f"[{_COLOUR[best.severity]}]{cause}[/{_COLOUR[best.severity]}]"


def _card(card: Card, words: Words) -> Table:
    title = words.says["card"].format(name=escape(words.use.get(card.name, card.name)), total=size(card.total_bytes))
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name, head in words.columns.items():
        table.add_column(head, justify="right" if name == "bytes" else "left")
    for line in card.lines:
        share = line.bytes / card.total_bytes if card.total_bytes else 0.0
        bar = "█" * round(max(0.0, min(1.0, share)) * _BAR)
        use, source = words.use.get(line.what, line.what), words.source[line.source]
        table.add_row(escape(use), size(line.bytes), f"{bar} {share:.1%}", source)
    return table
