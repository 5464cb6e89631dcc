"""Standard output that is closed or full, and a mistyped number: one line, and no fault of unfrag itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.hostile import makers

FULL = "unfrag: cannot write to standard output: No space left on device\n"
VERBS = {
    "explain": ["explain"],
    "explain as JSON": ["explain", "--json"],
    "help": ["--help"],
    "version": ["--version"],
    "plan": ["plan", "--config", "config.json", "--gpu", "H100", "--formula"],
    "plan as JSON": ["plan", "--config", "config.json", "--gpu", "H100", "--formula", "--json"],
    "apply": ["apply", "--config", "a.conf", "--program", "p", "--dry-run", "--", "--seed", "7"],
    "compare": ["compare", "a.json", "a.json"],
    "diagnose": ["diagnose", "--evidence", "."],
}


@pytest.fixture
def folder(tmp_path):
    texts = {"config.json": makers.model(), "a.json": makers.result(), "a.conf": "[program:p]\ncommand=vllm serve m\n"}
    for name, text in {**texts, "log.txt": "ERROR Free memory: 1.2 GiB, allocation failed\n"}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def run(root, folder, words, redirected, **more):
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "UNFRAG_STATE": str(folder / "state"), **more}
    line = ["sh", "-c", f'exec "$@" {redirected}', "sh", sys.executable, "-m", "unfrag", *words]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    assert not (folder / "state" / "last-fault.txt").exists()
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize("words", VERBS.values(), ids=VERBS)
def test_a_closed_output_is_an_empty_one(root, folder, words):
    right, _ = run(root, folder, words, ">/dev/null")
    assert run(root, folder, words, ">&-")[0] == right


def test_everything_may_be_closed(root, folder):
    assert run(root, folder, ["diagnose", "--evidence", "."], "<&- >&- 2>&-") == (1, "")


@pytest.mark.parametrize("words", VERBS.values(), ids=VERBS)
def test_a_full_output_is_told_in_one_line(root, folder, words):
    code, err = run(root, folder, words, ">/dev/full", PYTHONUNBUFFERED="")
    assert code == 1
    assert err.endswith(FULL)
    assert "Exception ignored" not in err


def test_a_full_output_without_a_buffer_is_told_as_well(root, folder):
    assert run(root, folder, VERBS["explain"], ">/dev/full", PYTHONUNBUFFERED="1") == (1, FULL)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plan", "--config", "config.json", "--gpu-count", "0"], "unfrag: plan: argument --gpu-count: "),
        (["plan"], "unfrag: plan: the following arguments are required: --config"),
        (["bench", "--nonsense", "x" * 5000], "unfrag: --nonsense is no option of bench"),
        (["explain", "a", "\x1b[2J"], "unfrag: unknown: "),
        (["--nonsense"], "unfrag: --nonsense is no option"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(root, folder, words, said):
    code, err = run(root, folder, words, ">/dev/null")
    assert (code, len(err.splitlines())) == (2, 1)
    assert err.startswith(said)
    assert "--help`" in err
    assert len(err) < 600
    assert "\x1b" not in err


def test_a_label_cannot_reach_the_terminal(root, folder):
    (folder / "b.json").write_text(json.dumps({**makers.RESULT, "label": "\x1b]0;x\x07b"}))
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    words = [sys.executable, "-m", "unfrag", "compare", "a.json", "b.json"]
    shown = subprocess.run(words, capture_output=True, text=True, check=True, cwd=folder, env=environment).stdout
    assert "\x1b" not in shown
    assert r"\x1b]0;x\x07b" in shown
