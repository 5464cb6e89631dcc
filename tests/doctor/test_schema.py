"""The published schema of ``diagnose --json``: up to date, and true of every finding there is."""

import json
from pathlib import Path

import jsonschema
import msgspec
import pytest

from unfrag.doctor import collect, diagnosis, rules
from unfrag.doctor.rules.thresholds import load_thresholds
from unfrag.doctor.words import pages

CASES = Path(__file__).parent


@pytest.fixture(scope="module")
def schema(root):
    return json.loads((root / "docs" / "diagnosis.schema.json").read_text())


def test_the_published_schema_is_that_of_the_code(schema):
    assert schema == diagnosis.schema()


def test_every_finding_is_as_the_schema_says(schema):
    validator = jsonschema.Draft202012Validator(schema)
    seen = set()
    for folder in sorted(path for kind in ("cases", "threads", "healthy") for path in (CASES / kind).iterdir()):
        found = diagnosis.diagnose(collect.evidence(folder), load_thresholds())
        printed = json.loads(msgspec.json.encode(found))
        validator.validate(printed)
        for card in printed["ledger"] or ():
            assert sum(line["bytes"] for line in card["lines"]) == card["total_bytes"], folder.name
        seen |= {finding["id"] for finding in printed["findings"]}
    assert seen == {pages.head(rule.CAUSE).id for rule in rules.RULES}


def test_the_schema_refuses_what_is_wrong(schema):
    good = json.loads(msgspec.json.encode(diagnosis.diagnose(collect.evidence(CASES), load_thresholds())))
    for key, value in (("findings", [{}]), ("verdict", None), ("schema_version", "1")):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**good, key: value}, schema)
