"""What `apply` shows of a file: every change, and no key, however the command is written."""

import difflib
import json

import pytest

from tests import planted
from unfrag import cli
from unfrag.apply import verify
from unfrag.apply.diff import diff
from unfrag.launchers import Edit

INI = """[program:glm_vllm]
environment=MY_AUTH="fakeKeyOne1",NCCL_DEBUG="INFO"
command=vllm serve m --port 9 --api-key
  fakeKeyTwo2
  --max-num-seqs 64
"""
COMPOSE = """services:
  vllm:
    image: vllm/vllm-openai
    environment:
      - HF_TOKEN=fakeKeyOne1
    command:
      - --model
      - m
      - --api-key
      - fakeKeyTwo2
      - --max-num-seqs
      - "64"
"""


@pytest.mark.parametrize("more", [[], ["--json"]])
@pytest.mark.parametrize("kind", ["config", "compose"])
def test_apply_prints_no_key(tmp_path, capsys, kind, more):
    file = tmp_path / ("a.conf" if kind == "config" else "docker-compose.yml")
    file.write_text(INI if kind == "config" else COMPOSE)
    cli.main(["apply", f"--{kind}", str(file), "--dry-run", *more, "--", "--max-num-seqs", "32"])
    said = capsys.readouterr()
    assert "fakeKey" not in said.out + said.err
    assert "32" in (json.loads(said.out)["diff"] if more else said.out)


def test_no_planted_key_is_in_a_diff():
    for line in planted.contexts("keys"):
        case = planted.Planted(line)
        shown = diff(f"{case.text}\nport=1\n".encode(), f"{case.text}\nport=2\n".encode(), "x")
        assert case.left_in(shown) == [], line
        assert "+port=2" in shown


def test_it_is_a_unified_diff():
    before, after = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\n", "a\nB\nc\nd\ne\nf\ng\nh\ni\nk\nl\n"
    expected = difflib.unified_diff(before.splitlines(), after.splitlines(), "x", "x", lineterm="")
    assert diff(before.encode(), after.encode(), "x").split("\n") == list(expected)


def test_a_key_that_changes_is_a_change():
    shown = diff(b"a\nAPI_KEY=fakeKeyOne1\n", b"a\nAPI_KEY=fakeKeyTwo2\n", "x")
    assert "-API_KEY=[taken out]\n+API_KEY=[taken out]\n\\ They differ in a key, which is not shown" in shown


def test_a_new_file_and_the_same_file():
    assert diff(b"", b"a\n", "x").split("\n")[2:] == ["@@ -0,0 +1 @@", "+a"]
    assert diff(b"a\n", b"a\n", "x") == ""


def test_a_second_key_is_refused_and_not_shown(tmp_path, capsys):
    file = tmp_path / "a.conf"
    file.write_text(INI)
    words = ["--api-key", "fakeKeyThree3", "fakeKeyFour4"]
    assert cli.main(["apply", "--config", str(file), "--dry-run", "--", *words]) == 2
    said = capsys.readouterr()
    assert "belongs to no flag" in said.err
    assert "fakeKey" not in said.out + said.err


def test_a_key_that_did_not_take_effect_is_not_shown():
    edit = Edit({"--api-key": "fakeKeyThree3"})
    found = verify.not_in_effect({"--api-key": "fakeKeyFour4"}, edit)
    assert found == ["--api-key has another value in the running command"]
