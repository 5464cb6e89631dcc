"""Hostile inputs: the right exit code, one line, nothing written, at most 500 MB and 20 seconds, never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.hostile import makers
from tests.hostile.cases import everything
from tests.hostile.zygote import SECONDS
from unfrag import cli

CASES = list(everything())
MOST_MIB = 477  # 500 MB


@pytest.fixture(scope="module")
def zygote(root):
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "COLUMNS": "100"}
    command = [sys.executable, "-m", "tests.hostile.zygote"]
    with subprocess.Popen(command, cwd=root, env=environment, stdin=-1, stdout=-1, text=True) as child:
        yield child
        child.stdin.close()


def run(zygote, folder, words, stdin=os.devnull, **more):
    """(what it cost and its exit code, stdout, stderr)."""
    state = folder.parent / f"{folder.name}-state"
    out, err = (folder.parent / f"{folder.name}-{name}" for name in ("out", "err"))
    environment = {"UNFRAG_STATE": str(state), "UNFRAG_CACHE": str(state), "HF_HUB_OFFLINE": "1"}
    asked = {"words": words, "folder": str(folder), "stdin": stdin, "stdout": str(out), "stderr": str(err)}
    zygote.stdin.write(json.dumps({**asked, "environment": environment, **more}) + "\n")
    zygote.stdin.flush()
    return json.loads(zygote.stdout.readline()), out.read_bytes(), err.read_text("utf-8", "replace")


def made(folder, files):
    folder.mkdir()
    for name, content in files.items():
        said = content() if callable(content) else content
        (folder / name).write_bytes(said.encode("utf-8", "surrogatepass") if isinstance(said, str) else said)
    return folder


def seen(folder):
    """Everything there is, and when each file was last written."""
    state = folder.parent / f"{folder.name}-state"
    there = [path for place in (folder, state) for path in place.rglob("*")]
    return {str(path): path.is_dir() or path.lstat().st_mtime_ns for path in there}


@pytest.mark.parametrize(("files", "words", "codes"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_it_is_refused_or_taken_within_bounds(zygote, tmp_path, files, words, codes):
    folder = made(tmp_path / "in", files)
    before = seen(folder)
    cost, out, err = run(zygote, folder, words)
    assert "Traceback" not in err, err[-3000:]
    assert cost["code"] in codes, (cost, err[-600:])
    if cost["code"] in (2, 3):
        assert len(err.strip().splitlines()) == 1, err[:2000]
        assert len(err) < 2000
    assert not set("\x1b\x07\x9b\u202e") & set(out.decode("utf-8", "replace") + err)
    assert seen(folder) == before
    assert cost["mib"] <= MOST_MIB, cost
    assert cost["seconds"] <= SECONDS, cost


@pytest.mark.parametrize("place", ["/dev/zero", "pipe"])
@pytest.mark.parametrize(
    "words",
    [
        ["diagnose", "--evidence", "PLACE"],
        ["diagnose", "--evidence", ".", "--thresholds", "PLACE"],
        ["compare", "PLACE", "PLACE"],
        ["plan", "--config", "PLACE", "--gpu", "H100"],
        ["plan", "--config", "config.json", "--gpu", "H100", "--formula", "--trace", "PLACE"],
        ["plan", "--config", "config.json", "--gpu", "H100", "--formula", "--bench", "PLACE"],
        ["bench", "--url", "http://127.0.0.1:1", "--jsonl", "PLACE"],
        ["apply", "--compose", "PLACE", "--dry-run", "--", "--seed", "7"],
        ["apply", "--config", "a.conf", "--program", "p", "--plan", "PLACE", "--dry-run"],
        ["guard", "--targets", "PLACE", "--once", "--dry-run"],
    ],
    ids=" ".join,
)
def test_what_has_no_end_is_refused(zygote, tmp_path, words, place):
    folder = made(
        tmp_path / "in", {"config.json": makers.model(), "log.txt": "INFO x\n", "a.conf": "[program:p]\ncommand=a\n"}
    )
    if place == "pipe":
        os.mkfifo(place := str(folder / "pipe"))
    cost, _, err = run(zygote, folder, [place if word == "PLACE" else word for word in words])
    assert (cost["code"], "Traceback" in err) == (2, False), err
    assert len(err.strip().splitlines()) == 1


def test_a_result_does_not_replace_a_pipe(zygote, tmp_path):
    folder = made(tmp_path / "in", {})
    os.mkfifo(folder / "pipe")
    cost, _, err = run(zygote, folder, ["bench", "--url", "http://127.0.0.1:1", "--out", "pipe"])
    assert cost["code"] == 2
    assert "no regular file" in err
    assert (folder / "pipe").is_fifo()


def test_an_error_is_json_for_who_asked_for_json(zygote, tmp_path):
    folder = made(tmp_path / "in", {"a.json": "{}"})
    cost, out, err = run(zygote, folder, ["compare", "a.json", "a.json", "--json"])
    said = json.loads(out)
    assert (cost["code"], said["exit_code"]) == (2, 2)
    assert said["error"] in err


def test_a_log_may_be_piped_in(zygote, tmp_path):
    folder = made(tmp_path / "in", {"log": "ERROR Free memory: 1.2 GiB, allocation failed\n"})
    words = ["diagnose", "--url", "http://127.0.0.1:1", "--log", "-", "--json"]
    _, out, _ = run(zygote, folder, words, stdin=str(folder / "log"))
    assert json.loads(out)["findings"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["diagnos"], "did you mean diagnose? See"),
        (["nonsense"], "completion. See `unfrag --help`"),
        (["diagnose", "--url", "http://127.0.0.1:1/v1"], "leave /v1 away"),
        (["plan", "--config", "config.json", "--gpu", "H10"], "H100"),
    ],
)
def test_a_mistake_is_answered_with_what_was_meant(zygote, tmp_path, words, said):
    cost, _, err = run(zygote, made(tmp_path / "in", {"config.json": "{}"}), words)
    assert cost["code"] in (2, 3)
    assert said in err or words[0] == "plan"


ABSURD = (0, -1, 0.5, 1, 1e308, 10**30, 2**40, "8", [], {}, [[1]], True, [10**30])


@pytest.mark.parametrize("field", [*makers.MODEL, "head_dim", "sliding_window", "num_experts", "kv_lora_rank"])
def test_any_field_of_a_model_may_be_absurd(tmp_path, capsys, field):
    path = tmp_path / "config.json"
    for value in ABSURD:
        path.write_text(makers.model(**{field: value}))
        code = cli.main(["plan", "--config", str(path), "--gpu", "H100", "--formula", "--json"])
        err = capsys.readouterr().err
        assert code in (0, 1, 2, 3), (value, err)
        assert len(err.splitlines()) <= 1
