"""The completion script of a shell: one that the shell reads, and that knows verbs and their options."""

import shutil
import subprocess

import pytest

from unfrag.cli import main
from unfrag.commands import COMMANDS
from unfrag.commands.completion import SHELLS


def script(capsys, shell):
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_knows_every_verb_and_no_hidden_option(capsys, shell):
    text = script(capsys, shell)
    for command in COMMANDS:
        assert command.NAME in text
    assert "max-num-batched-tokens" in text
    assert "--output " not in text.replace("--output-tokens", "")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_reads_it(capsys, tmp_path, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "unfrag"
    path.write_text(script(capsys, shell))
    subprocess.run([shell, "-n", str(path)], check=True)


@pytest.mark.parametrize(("typed", "offered"), [("dia", "diagnose"), ("diagnose --fol", "--follow")])
def test_bash_completes(capsys, tmp_path, typed, offered):
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    path = tmp_path / "unfrag"
    words = ["unfrag", *typed.split()]
    path.write_text(
        script(capsys, "bash")
        + f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}\n"
        + "$(complete -p unfrag | sed 's/.*-F \\([^ ]*\\).*/\\1/') unfrag; echo \"${COMPREPLY[@]}\"\n"
    )
    done = subprocess.run(["bash", str(path)], capture_output=True, text=True, check=True)
    assert offered in done.stdout.split()
