"""Each manifest is read back by something that knows its format, and says the same command."""

from __future__ import annotations

import configparser
import json
import shlex
import shutil
import subprocess
import xml.dom.minidom

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.plan.test_estimate import GLM_FLASH
from unfrag import cli
from unfrag.plan import manifests

WORDS = ["vllm", "serve", "zai-org/GLM-4.7-Flash", "--tensor-parallel-size", "4", "--x", 'a "b" 100% $HOME']
AWKWARD = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1)


def commands(words):
    """The command as each format's reader sees it, without the program where the image brings it."""
    ini = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=(";",))
    ini.read_string(manifests.manifest("supervisor", words, 4))
    (program,) = ini.sections()
    yield "supervisor", shlex.split(ini[program]["command"].replace("%%", "%"))
    compose = yaml.safe_load(manifests.manifest("compose", words, 4))
    (service,) = compose["services"].values()
    yield "compose", ["vllm", "serve", *(word.replace("$$", "$") for word in service["command"])]
    deployment, _ = yaml.safe_load_all(manifests.manifest("kubernetes", words, 4))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    yield "kubernetes", ["vllm", "serve", *container["args"]]


@given(st.lists(AWKWARD, max_size=3))
def test_every_format_says_the_same_command(more):
    for kind, found in commands([*WORDS, *more]):
        expected = [*WORDS, *more, "--port", "8000"]
        assert found == expected, kind


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_takes_its_unit(tmp_path):
    unit = tmp_path / "vllm-test.service"
    unit.write_text(manifests.manifest("systemd", WORDS, 4))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, str(unit) in done.stderr) == (0, False), done.stderr


@pytest.mark.parametrize("kind", manifests.KINDS)
def test_the_command_prints_it_and_nothing_else(capsys, tmp_path, kind):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(GLM_FLASH))
    flags = ["--config", str(path), "--gpu", "H100", "--formula", "--model", "zai-org/GLM-4.7-Flash", "--as", kind]
    assert cli.main(["plan", *flags]) == 0
    said = capsys.readouterr().out
    assert "vllm-glm-4-7-flash" in said
    assert said.lstrip()[0] in ";#"


def test_the_picture_is_an_svg_with_a_bar_for_each_card(capsys, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(GLM_FLASH))
    picture = tmp_path / "cards.svg"
    flags = ["--config", str(path), "--gpu", "H100", "--gpu-count", "2", "--formula", "--model", "<b>&", "--svg"]
    assert cli.main(["plan", *flags, str(picture)]) == 0
    drawn = xml.dom.minidom.parse(str(picture))
    bars = [group for group in drawn.getElementsByTagName("g") if len(group.getElementsByTagName("rect")) == 7]
    assert len(bars) == 2
    widths = [float(rect.getAttribute("width")) for rect in bars[0].getElementsByTagName("rect")[:-1]]
    assert sum(widths) == pytest.approx(704, abs=0.1)
    assert cli.main(["plan", *flags, "/proc/nowhere.svg"]) == 2
    assert "Nothing was changed" in capsys.readouterr().err
