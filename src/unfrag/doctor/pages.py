"""The page of documentation of each rule: ``CAUSE.md`` beside the rule, under ruff's fixed headings."""

from __future__ import annotations

from unfrag.system import resources

HEADINGS = (
    "What it does",
    "Why is this bad?",
    "Known problems",
    "Example",
    "Use instead",
    "Options",
    "Fix safety",
    "References",
)


def page(cause: str) -> str:
    """The page of one cause, as Markdown."""
    return resources.text("unfrag.doctor.rules", f"{cause}.md")
