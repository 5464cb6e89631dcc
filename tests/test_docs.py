"""What the documents list is what the code has."""

from __future__ import annotations

import re

from unfrag.facts.memory_stats import Pool, Rank


def test_the_keys_of_health(root):
    text = (root / "docs" / "health.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert rows == [name for name in Pool.__struct_fields__ if name != "engine"]
    (ranks,) = re.findall(r"^\| `ranks` .*$", text, re.MULTILINE)
    assert not [name for name in Rank.__struct_fields__ if name not in ranks]
