"""Every rule has its page, in the fixed headings, and stands in the table of findings."""

import re
import tomllib
from importlib import resources

import pytest

from unfrag.doctor.rules import RULES
from unfrag.doctor.words.pages import HEADINGS, head, page

by_cause = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.CAUSE)


@by_cause
def test_the_page_has_the_fixed_headings_and_something_under_each(rule):
    title, *parts = re.split(r"^## ", page(rule.CAUSE), flags=re.MULTILINE)
    assert title.strip() == f"# {head(rule.CAUSE).id} {rule.CAUSE}"
    assert [part.partition("\n")[0] for part in parts] == list(HEADINGS)
    assert all(part.partition("\n")[2].strip() for part in parts)


@by_cause
def test_the_page_names_every_threshold_of_its_rule(rule):
    text = resources.files("unfrag.doctor.rules").joinpath("thresholds.toml").read_text()
    missing = [key for key in tomllib.loads(text)[rule.CAUSE] if f"`{key}`" not in page(rule.CAUSE)]
    assert missing == []


def test_the_table_of_findings_is_whole(root):
    table = (root / "docs" / "findings.md").read_text()
    for rule in RULES:
        words = head(rule.CAUSE)
        row = f"| [{words.id}](../src/unfrag/doctor/rules/{rule.CAUSE}.md) | `{rule.CAUSE}` | {words.sentence} |"
        assert row in table
