"""`unfrag apply` and what it is given: each mistake is one line, before anything is changed."""

from __future__ import annotations

import pytest

from unfrag import cli

LINE = "vllm serve /m --cudagraph-capture-sizes 1 2 4 --max-num-seqs 64 --api-key sk-very-secret-1 --port 9"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "glm.conf"
    path.write_text(f"[program:glm_vllm]\ncommand={LINE}\nstopasgroup=true\n")
    return path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--max-num-seqs", "16", "32"], "32 behind --max-num-seqs belongs to no flag"),
        (["16"], "16 belongs to no flag"),
        (["-tp", "2"], "long name"),
        (["--block-size"], "needs a value"),
        (["--max-num-seqs", "0"], "no whole number above 0"),
        (["--port", "99999"], "no port"),
        (["--max-num-seq", "8"], "did you mean --max-num-seqs? Nothing was changed"),
        (["--cudagraph-capture-sizes", "8"], "several values"),
        (["--kv-cache-dtype", "fp17"], "fp17 is none of its values"),
        (["--dtype", "bfloat61"], "did you mean bfloat16?"),
        (["--served-model-name", "a\nb"], "cannot hold a line break"),
        (["--served-model-name", "a ;b"], "cannot hold a line break, or a ;"),
    ],
)
def test_words_that_mean_nothing_are_refused(file, capsys, words, said):
    before = file.read_bytes()
    assert cli.main(["apply", "--config", str(file), "--", *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert file.read_bytes() == before


def test_a_flag_of_several_values_is_not_half_removed(file, capsys):
    assert cli.main(["apply", "--config", str(file), "--dry-run", "--unset", "cudagraph-capture-sizes"]) == 2
    assert "several values" in capsys.readouterr().err


def test_what_is_right_is_taken_and_keys_are_not_shown(file, capsys):
    assert cli.main(["apply", "--config", str(file), "--dry-run", "--", "--max-model-len", "-1"]) == 0
    shown = "".join(capsys.readouterr())
    assert "+command=vllm serve" in shown
    assert "--max-model-len=-1" in shown
    assert "sk-very-secret-1" not in shown


def test_a_command_behind_a_shell_is_not_edited_blindly(file, capsys):
    file.write_text('[program:glm_vllm]\ncommand=/bin/bash -c "exec vllm serve /m"\n')
    assert cli.main(["apply", "--config", str(file), "--dry-run", "--", "--seed", "1"]) == 2
    assert "/bin/bash -c" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--unit", ""], ["--compose", "."], ["--config", "."], ["--config", "/etc"]])
def test_a_place_that_is_none_is_one_line(words, capsys):
    assert cli.main(["apply", *words, "--dry-run", "--", "--seed", "1"]) in (2, 3)
    assert capsys.readouterr().err.count("\n") == 1


def test_a_mistyped_flag_to_unset_is_no_success(file, capsys):
    assert cli.main(["apply", "--config", str(file), "--dry-run", "--unset", "max-num-seq"]) == 2
    assert "did you mean max-num-seqs?" in capsys.readouterr().err
    assert cli.main(["apply", "--config", str(file), "--dry-run", "--unset", "frobnicate"]) == 2
    assert "no flag of vLLM" in capsys.readouterr().err


def test_a_flag_that_was_taken_out_before_is_nothing_to_do(file, capsys):
    cli.main(["apply", "--config", str(file), "--dry-run", "--unset", "enforce-eager"])
    assert "nothing to do" in capsys.readouterr().err


def test_it_is_said_when_flags_cannot_be_checked(file, capsys):
    file.write_text("[program:glm_vllm]\ncommand=/opt/start-glm.sh --port 9\n")
    assert cli.main(["apply", "--config", str(file), "--dry-run", "--", "--max-num-seq", "4"]) == 0
    assert "flags are not checked" in capsys.readouterr().err


def test_without_flags_it_offers_what_it_would_repair(file, capsys):
    file.write_text("[program:glm_vllm]\ncommand=vllm serve /m --kv-cache-dtype fp16\n")
    assert cli.main(["apply", "--config", str(file)]) == 2
    err = capsys.readouterr().err
    assert "fp16 is spelled float16" in err
    assert f"unfrag apply --config {file} -- --kv-cache-dtype float16" in err
