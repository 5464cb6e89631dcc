"""Every report is whole: in a pipe, and at terminals of 80 and of 200 columns no word of it is lost or broken."""

import contextlib
import io
import re

from tests.bench.test_result import repeat, result
from unfrag.bench.compare import compare
from unfrag.cli import main
from unfrag.doctor import collect, diagnosis
from unfrag.doctor.rules.thresholds import load_thresholds
from unfrag.reports import SafeConsole
from unfrag.reports.text.comparison import table
from unfrag.reports.text.diagnosis import render

GLM = (
    '{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, '
    '"num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, '
    '"max_position_embeddings": 8192, "torch_dtype": "bfloat16"}'
)


def words(text):
    """Without borders of tables and bars, whose length is the width's."""
    return [word for word in re.findall(r"[^\s│┃━─█]+", text) if not re.fullmatch(r"[┏┓┗┛┡┩╇┳└┘┴┼├┤╞╡]+", word)]


def papers():
    return [SafeConsole(file=io.StringIO(), width=width, highlight=False) for width in (80, 200)]


def in_a_pipe():
    return SafeConsole(file=io.StringIO(), width=120, highlight=False, soft_wrap=True)


def pytest_generate_tests(metafunc):
    if "folder" in metafunc.fixturenames:
        from pathlib import Path

        cases = sorted((Path(__file__).parent.parent / "doctor" / "cases").iterdir())
        metafunc.parametrize("folder", cases[::8], ids=lambda case: case.name)


def test_a_diagnosis_is_whole_at_every_width(folder):
    found = diagnosis.diagnose(collect.evidence(folder), load_thresholds())
    whole = in_a_pipe()
    render(found, whole)
    said = words(whole.file.getvalue())
    assert found.verdict in " ".join(said)
    for finding in found.findings[:3]:
        assert " ".join(finding.summary.split()) in " ".join(whole.file.getvalue().split())
    for paper in papers():
        render(found, paper)
        short = [word for word in said if len(word) < 60]  # a longer one than a line must be broken
        missing = set(short) - set(words(paper.file.getvalue()))
        assert missing == set()
        assert max(map(len, paper.file.getvalue().splitlines())) <= paper.width


def test_a_comparison_is_whole_at_every_width():
    results = [result(f"configuration {name}", repeat([1.0]), repeat([2.0])) for name in "AB"]
    whole = in_a_pipe()
    whole.print(table(results, compare(results)))
    for paper in papers():
        paper.print(table(results, compare(results)))
        assert words(paper.file.getvalue()) == words(whole.file.getvalue())


def plan(folder, monkeypatch, columns, terminal):
    import sys

    stream = io.StringIO()
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "stdout", stream)
    with contextlib.suppress(SystemExit):
        main(["plan", "--config", str(folder / "config.json"), "--gpu", "H100", "--formula", "--explain"])
    monkeypatch.undo()
    return stream.getvalue()


def test_a_plan_is_whole_at_every_width(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text(GLM)
    monkeypatch.setenv("TERM", "dumb")
    whole = words(plan(tmp_path, monkeypatch, 120, terminal=False))
    assert "--max-model-len" in whole
    for columns in (80, 200):
        shown = plan(tmp_path, monkeypatch, columns, terminal=True)
        assert set(words(re.sub(r"\x1b\[[0-9;]*m", "", shown))) >= set(whole)
