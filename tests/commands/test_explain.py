"""`unfrag explain` prints a page whole, however wide the paper is."""

import io
import re

import pytest

from unfrag import cli
from unfrag.doctor.rules import RULES
from unfrag.doctor.words import pages
from unfrag.reports import SafeConsole
from unfrag.reports.text.page import render

PAGES = [(rule.CAUSE, name) for rule in RULES for name in ("en", "zh") if name == "en" or pages.has(rule.CAUSE, name)]


def letters(text):
    """What is left when lines, spaces and marks are taken away."""
    return re.sub(r"\W", "", re.sub(r"\x1b\[[0-9;]*m", "", text))


def of_the_page(cause, language):
    return letters(re.sub(r"^```\w*", "", pages.page(cause, language), flags=re.MULTILINE))


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize(("cause", "language"), PAGES)
def test_no_word_is_lost_on_a_terminal(cause, language, width):
    text = io.StringIO()
    render(pages.page(cause, language), SafeConsole(file=text, width=width, force_terminal=True))
    assert letters(text.getvalue()) == of_the_page(cause, language)
    assert max(len(line) for line in re.sub(r"\x1b\[[0-9;]*m", "", text.getvalue()).splitlines()) <= width


@pytest.mark.parametrize(("cause", "language"), PAGES)
def test_no_word_is_lost_in_a_pipe(cause, language, capsys):
    assert cli.main(["explain", cause, "--lang", language]) == 0
    assert capsys.readouterr().out == pages.page(cause, language).rstrip() + "\n"


def test_all_findings_are_listed_by_their_ids(capsys):
    cli.main(["explain"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(RULES)
    assert lines == sorted(lines)
    assert lines[3].endswith(pages.head("kv_pool_too_small").sentence)


def test_a_word_of_a_cause_is_answered_with_the_causes_that_have_it(capsys):
    assert cli.main(["explain", "leak"]) == 2
    assert "did you mean memory_leak_gpu, memory_leak_host, kv_transfer_leak?" in capsys.readouterr().err
    assert cli.main(["explain", "nothing_like_it_9"]) == 2
    assert "`unfrag explain` lists them" in capsys.readouterr().err
