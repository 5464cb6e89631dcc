"""Compose files: whose command it is, the override that changes it, and that compose takes what is written."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from unfrag import cli
from unfrag.errors import UsageError
from unfrag.launchers import Edit
from unfrag.launchers.compose.service import ComposeService, _tools

FILE = """\
version: "3.8"
services:
  proxy:
    image: nginx
  vllm:
    image: vllm/vllm-openai:v0.32.0
    restart: unless-stopped
    ports: ["127.0.0.1:18000:8000"]
    environment: {HF_TOKEN: "${HF_TOKEN}"}
    command: >-
      --model /models/GLM-4.7-Flash --max-num-seqs 64
      --served-model-name "${NAME:-glm}"
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "docker-compose.yml"
    path.write_text(FILE)
    return path


def test_the_override_changes_the_words_of_the_command_alone(file):
    launcher = ComposeService(file, "vllm")
    spec = launcher.read()
    assert (spec.url, spec.content) == ("http://127.0.0.1:18000", b"")
    assert spec.path.name == "docker-compose.override.yml"
    content = launcher.plan(spec, Edit({"--max-num-seqs": "32", "--chat-template": "a $b"}))
    spec.path.write_bytes(content)
    again = launcher.read()
    assert "--max-num-seqs 32" in again.command, again
    assert "${NAME:-glm}" in again.command
    assert launcher.plan(again, Edit({"--max-num-seqs": "32"})) == content, "what says so already is left alone"
    assert file.read_text() == FILE


def test_everything_else_in_the_override_stays(file):
    other = file.with_name("docker-compose.override.yml")
    text = "# unfrag wrote this; `unfrag rollback` takes it back.\nservices:\n  proxy:\n    command: [x]  # mine\n"
    other.write_text(text + "  vllm:\n    environment: {A: b}\n")
    launcher = ComposeService(file, "vllm")
    content = launcher.plan(launcher.read(), Edit({"--seed": "7"})).decode()
    assert content.startswith(text)
    assert "environment: {A: b}" in content
    assert "--seed 7" in content


def test_a_variable_of_several_words_stays_one(file):
    file.write_text("services: {vllm: {command: 'serve /m --port 8000 ${MORE}'}}")
    launcher = ComposeService(file, "vllm")
    content = launcher.plan(launcher.read(), Edit({"--seed": "7"})).decode()
    assert "command: serve /m --port 8000 ${MORE} --seed 7" in content


def test_the_path_may_be_a_relative_one(file, monkeypatch):
    monkeypatch.chdir(file.parent.parent)
    spec = ComposeService(file.relative_to(file.parent.parent), "vllm").read()
    assert spec.path.is_absolute()


def test_both_endings_of_an_override_are_known(file):
    file.with_name("docker-compose.override.yaml").write_text("services: {vllm: {command: [--model, /other]}}")
    spec = ComposeService(file, "vllm").read()
    assert (spec.command, spec.path.name) == ("--model /other", "docker-compose.unfrag.yml")


def test_an_override_of_somebody_else_is_read_and_never_written(file):
    theirs = file.with_name("docker-compose.override.yml")
    theirs.write_text("services:\n  vllm:\n    command: [--model, /other]\n")
    spec = ComposeService(file, "vllm").read()
    assert (spec.command, spec.path.name) == ("--model /other", "docker-compose.unfrag.yml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("services: {other: {image: x}}", "no service vllm"),
        ("services: {vllm: {image: x}}", "leaves it to the image"),
        ("services: {vllm: {extends: x}}", "what it extends"),
        ("services: {vllm: {command: 5}}", "no command of its own"),
        ('services: {vllm: {command: "a \'b"}}', "cannot be read"),
        ("services: [", "is no compose file"),
        ("- 1", "no service vllm"),
        ("\0", "is no compose file"),
        ("services: {vllm: {command: a, ports: 8000}}", None),
    ],
)
def test_a_file_without_the_command_is_refused_in_one_line(file, text, said):
    file.write_text(text)
    if said is None:
        assert ComposeService(file, "vllm").read().url == "http://127.0.0.1:8000"
        return
    with pytest.raises(UsageError, match=said) as caught:
        ComposeService(file, "vllm").read()
    assert "\n" not in str(caught.value)


def test_a_restart_policy_without_end_is_warned_of(file):
    assert "on-failure:3" in ComposeService(file, "vllm").warnings()[0]


def test_the_address_is_the_published_port(file):
    for ports, url in [
        ('["8001:8000"]', "http://127.0.0.1:8001"),
        ('["8001:8000/tcp"]', "http://127.0.0.1:8001"),
        ('["8000"]', "http://127.0.0.1:8000"),
        ("[{target: 8000, published: 9000}]", "http://127.0.0.1:9000"),
    ]:
        file.write_text(FILE.replace('["127.0.0.1:18000:8000"]', ports))
        assert ComposeService(file, "vllm").read().url == url


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed")
def test_compose_takes_the_file_with_its_override(file):
    launcher = ComposeService(file, "vllm")
    spec = launcher.read()
    spec.path.write_bytes(launcher.plan(spec, Edit({"--chat-template": "a $b", "--seed": "7"}, ("--max-num-seqs",))))
    done = subprocess.run(
        ["docker-compose", "-f", str(file), "-f", str(spec.path), "config"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for word in ("--seed 7", "a $$b", "glm"):
        assert word in done.stdout
    assert "--max-num-seqs" not in done.stdout


def test_without_an_engine_it_is_one_line(file, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    _tools.cache_clear()
    assert cli.main(["apply", "--compose", str(file), "--", "--max-num-seqs", "32"]) == 3
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("unfrag")]
    assert "no docker compose" in line
