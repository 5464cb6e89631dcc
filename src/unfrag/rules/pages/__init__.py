"""The page of documentation of each rule: ``CAUSE.md`` in this folder, under ruff's fixed headings."""

from __future__ import annotations

from importlib import resources

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
    return resources.files("unfrag.rules.pages").joinpath(f"{cause}.md").read_text("utf-8")
