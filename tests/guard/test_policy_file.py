"""What is wrong with a policy is a line that says where, what stands there, and what is wanted."""

from __future__ import annotations

from typing import get_type_hints

import msgspec
import pytest

from unfrag import cli
from unfrag.errors import UsageError
from unfrag.guard import policy_file
from unfrag.guard.policy import Policy

SECONDS = "it must be a number of seconds from 0 to 31536000"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("hang_seconds = -1", f"hang_seconds is -1: {SECONDS}"),
        ("hang_seconds = 'soon'", f"hang_seconds is 'soon': {SECONDS}"),
        ("hang_seconds = nan", f"hang_seconds is nan: {SECONDS}"),
        (f"hang_seconds = 0x{'f' * 5000}", f"hang_seconds is a very long number: {SECONDS}"),
        ("interval = 0", "interval is 0: it must be a number of seconds above 0, at most 86400"),
        ("memory_share = 95", "memory_share is 95: it must be a share from 0 to 1, such as 0.95"),
        ("restarts_an_hour = 1.5", "restarts_an_hour is 1.5: it must be a whole number from 0 to 1000000"),
        ("runs_matter = 3", "runs_matter is 3: it must be true or false"),
        ("nightly = '2:00'", 'nightly is \'2:00\': it must be a time of day such as "02:00", or "" for never'),
        ("drain_seconds = 1e9", "drain_seconds is 1000000000.0: it must be a number of seconds from 0 to 86000"),
        ("hang_second = 1", "'hang_second' is no threshold; did you mean hang_seconds?"),
        ("no_such = 1", "'no_such' is no threshold; docs/guard.md names all"),
        ('"a\\nb" = 1', "'a\\nb' is no threshold; docs/guard.md names all"),
        ("interval = 50", "hang_seconds 45 is below the interval 50: every server would look hung; see docs/guard.md"),
    ],
)
def test_a_value_that_makes_no_sense_is_one_line(content, said, tmp_path, capsys):
    file = tmp_path / "policy.toml"
    file.write_text(content)
    assert cli.main(["guard", "--policy", str(file), "--once"]) == 2
    assert capsys.readouterr().err == f"unfrag: {file}: {said}\n"


def test_what_is_no_toml_is_one_line(tmp_path, capsys):
    file = tmp_path / "policy.toml"
    file.write_text("[")
    assert cli.main(["guard", "--policy", str(file), "--once"]) == 2
    assert capsys.readouterr().err.startswith(f"unfrag: {file} is no TOML: ")


def test_a_name_of_ours_that_is_mistyped_is_recognised(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("artcle", "Article"):
        assert cli.main(["guard", "--policy", name, "--once"]) == 2
        assert "there is no such file; did you mean article?" in capsys.readouterr().err
    (tmp_path / "artcle").write_text("interval = 7")
    assert policy_file.read("artcle", None).interval == 7
    assert policy_file.read("article", None).empties_cache
    assert policy_file.read("article", 7.0).interval == 7


def test_an_interval_of_the_command_line_is_checked_alike():
    with pytest.raises(UsageError, match=r"^--interval is 1000000\.0: it must be a number of seconds above 0"):
        policy_file.read(None, 1e6)


def test_the_words_for_a_threshold_are_its_bounds():
    for name, kind in get_type_hints(Policy, include_extras=True).items():
        (meta,) = kind.__metadata__
        assert meta.description, name
        if meta.le is not None:
            assert str(meta.le) in meta.description, name
            assert msgspec.convert(meta.le, kind) == meta.le
