"""Help: verbs in groups, a text for every option, no broken word; what was mistyped is answered with what was meant."""

import argparse
import json
import re

import pytest

from tests.commands.running import run
from unfrag.cli import _parser
from unfrag.commands import COMMANDS, GROUPS

VERBS = [command.NAME for command in COMMANDS]


def test_without_a_verb_the_help_is_shown_and_it_is_a_mistake(capsys):
    shown = run(capsys, "--help")[1]
    assert run(capsys) == (2, "", shown)


def test_every_verb_stands_in_its_group(capsys):
    shown = run(capsys, "--help")[1]
    places = [shown.index(f"\n{title}:\n") for title in GROUPS]
    assert places == sorted(places)
    for title, commands in GROUPS.items():
        block = shown[shown.index(f"\n{title}:\n") :].split("\n\n")[0]
        assert re.findall(r"^  ([a-z]\S*)", block, re.MULTILINE) == [command.NAME for command in commands]


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_says_what_it_does(verb):
    silent = [action.dest for action in _parser()[1][verb]._actions if not action.help]
    assert silent == []


@pytest.mark.parametrize("columns", ["40", "80", "200"])
@pytest.mark.parametrize("verb", [[], *([verb] for verb in VERBS)])
def test_help_fits_and_breaks_no_word(capsys, monkeypatch, verb, columns):
    monkeypatch.setenv("COLUMNS", "10000")
    words = set(re.findall(r"[^\s\[\]|]+", run(capsys, *verb, "--help")[1]))
    monkeypatch.setenv("COLUMNS", columns)
    code, shown, _ = run(capsys, *verb, "--help")
    assert code == 0
    assert set(re.findall(r"[^\s\[\]|]+", shown)) - words <= {"\\"}
    if int(columns) >= 80:
        assert max(map(len, shown.splitlines())) <= int(columns)


@pytest.mark.parametrize("verb", VERBS)
def test_an_example_that_is_wrapped_is_one_command_still(capsys, monkeypatch, verb):
    monkeypatch.setenv("COLUMNS", "60")
    shown = " ".join(run(capsys, verb, "--help")[1].replace("\\\n", " ").split())
    for line in next(command for command in COMMANDS if verb == command.NAME).EXAMPLES.splitlines():
        assert " ".join(line.split()) in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["diagnos"], "did you mean diagnose?"),
        (["--versio"], "did you mean --version?"),
        (["diagnose", "--confgi", "x"], "did you mean --config?"),
        (["apply", "--confgi", "x"], "did you mean --config?"),
        (["bench", "--repeat=s"], "--repeats"),
        (["apply", "--config", "x", "--max-num-seqs", "4"], "stand behind --"),
    ],
)
def test_what_was_meant_is_said(capsys, words, said):
    code, out, err = run(capsys, *words)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert said in err


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "serve"])
def test_with_json_a_wrong_command_line_is_json_too(capsys, verb):
    code, out, _ = run(capsys, verb, "--json", "--frobnicate")
    assert (code, json.loads(out)["exit_code"]) == (2, 2)


def test_what_names_a_server_is_the_same_in_every_verb():
    parsers = _parser()[1]
    names = ("--config", "--program", "--server", "--unit", "--user", "--compose", "--service")
    for verb in ("diagnose", "capture", "apply", "rollback", "restart", "flush", "guard", "bench"):
        helps = {name: parsers[verb]._option_string_actions[name].help for name in names}
        assert helps == {name: parsers["apply"]._option_string_actions[name].help for name in names}
    for verb in ("diagnose", "capture", "flush", "guard", "bench"):
        assert "--url" in parsers[verb]._option_string_actions


def test_a_file_that_is_written_is_out_in_every_verb():
    for verb in ("bench", "capture", "demo"):
        options = _parser()[1][verb]._option_string_actions
        assert options["--out"].dest == "out"
        hidden = options.get("--output")
        assert hidden is None or hidden.help == argparse.SUPPRESS
