"""What the documents list is what the code has."""

from __future__ import annotations

import re

import pytest

from tests.documents import PAGES
from unfrag.errors import UnfragError
from unfrag.facts.memory_stats import Pool, Rank
from unfrag.system import faults


def test_the_keys_of_health(root):
    text = (root / "docs" / "health.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert rows == [name for name in Pool.__struct_fields__ if name != "engine"]
    (ranks,) = re.findall(r"^\| `ranks` .*$", text, re.MULTILINE)
    assert not [name for name in Rank.__struct_fields__ if name not in ranks]


def test_the_exit_codes(root):
    for name in ("README.md", "README.zh-CN.md"):
        text = (root / name).read_text()
        listed = re.search(r"(?:Exit codes: |退出码:)(.*?)(?:\.\n|。\n)", text, re.DOTALL)
        assert listed, name
        codes = {int(code) for code in re.findall(r"(?<![\d-])(\d{1,2}) ", listed[1])}
        assert codes == {0, 1, faults.EXIT_CODE, *(kind.exit_code for kind in UnfragError.__subclasses__())}, name


@pytest.mark.parametrize("name", PAGES)
def test_what_is_made_from_the_code(name, root):
    made = PAGES[name]()
    assert (root / "docs" / name).read_text() == made, "python -m tests.documents writes it anew"


def test_the_thresholds_of_the_guard(root):
    """Each field of a policy that the documents name is one, and each row of the table is named."""
    text = (root / "docs" / "guard.md").read_text()
    rows = re.findall(r"^\| ([a-z][\w ,]*?) \| ", text, re.MULTILINE)
    written = {name.strip() for row in rows for name in row.split(",")}
    source = (root / "src" / "unfrag" / "guard" / "table.py").read_text()
    said = set(re.findall(r'Decision\(\s*"[\w ]+",\s*"([\w ]+)"', source))
    assert said - written - {"watching"} == set()
