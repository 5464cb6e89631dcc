"""Text, JSON and exit code say the same of any evidence, whole or with files missing."""

from __future__ import annotations

import io
import json
import random
import shutil
from pathlib import Path

import pytest

from unfrag import cli
from unfrag.doctor import collect, diagnosis
from unfrag.doctor.rules.thresholds import load_thresholds
from unfrag.reports import SafeConsole
from unfrag.reports.text.diagnosis import render

FOLDERS = sorted(path.parent for path in Path(__file__).parent.rglob("log.txt"))
SUBSETS = 200


def said(text: str) -> str:
    """What the first line of a text report says, behind the target."""
    return text.splitlines()[0].rpartition(": ")[2].partition(",")[0] if ": unknown" not in text else "unknown"


def agree(verdict: str, text: str, code: int, severities: list[str]) -> bool:
    wanted = 3 if verdict == "unknown" else 1 if "critical" in severities else 0
    claims_health = "healthy, as far as could be seen" in text
    return said(text).removeprefix("perhaps ") == verdict and code == wanted and claims_health == (verdict == "healthy")


def test_there_are_folders():
    assert len(FOLDERS) > 20


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_of_a_whole_folder(folder, capsys):
    code = cli.main(["diagnose", "--evidence", str(folder)])
    text = capsys.readouterr().out
    assert cli.main(["diagnose", "--evidence", str(folder), "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert agree(found["verdict"], text, code, [one["severity"] for one in found["findings"]]), (found, text)
    assert (found["why"] != "") == (found["verdict"] == "unknown")


def test_of_random_subsets(tmp_path):
    rng, thresholds = random.Random(9), load_thresholds()
    seen = set()
    for number in range(SUBSETS):
        folder = rng.choice(FOLDERS)
        files = [path for path in folder.iterdir() if path.is_file()]
        copy = tmp_path / str(number)
        copy.mkdir()
        for path in rng.sample(files, rng.randint(0, len(files) - 1)):
            shutil.copy(path, copy)
        found = diagnosis.diagnose(collect.evidence(copy), thresholds)
        text = io.StringIO()
        render(found, SafeConsole(file=text, width=120, no_color=True))
        code = diagnosis.exit_code(found, "critical")
        assert agree(found.verdict, text.getvalue(), code, [one.severity for one in found.findings]), (folder, files)
        seen.add(found.verdict)
    assert {"unknown", "healthy"} < seen
