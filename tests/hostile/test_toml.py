"""A long dotted key is refused before it is read; what only looks like one is taken."""

from __future__ import annotations

import pytest

from unfrag.errors import UsageError
from unfrag.system.decode import toml_file
from unfrag.system.files import read_file


@pytest.mark.parametrize(
    "text",
    [
        'a = "' + "a." * 100 + '"\n',
        "a = '''\n" + "a." * 100 + "'''\n",
        'a = """""' + "a." * 100 + '"""""\n',
        "a = 1 # " + "a." * 100 + "\n",
        "a = [" + "0.5, " * 100 + "]\n",
        "a.b.c = 1\n",
    ],
)
def test_dots_elsewhere_than_in_a_key_are_no_parts_of_it(tmp_path, text):
    (tmp_path / "a.toml").write_text(text)
    assert toml_file(tmp_path / "a.toml")["a"]


@pytest.mark.parametrize("key", [".".join("a" * 30), " . ".join(['"a.b"'] * 30), ".".join(["'#'"] * 30)])
def test_a_key_of_many_parts_is_refused(tmp_path, key):
    for text in (f"{key} = 1\n", f"[{key}]\n", f'b = """\\""""\n{key} = 1\n', f"b = {{ {key} = 1 }}\n"):
        (tmp_path / "a.toml").write_text(text)
        with pytest.raises(UsageError, match="more than 20 parts"):
            toml_file(tmp_path / "a.toml")


def test_a_small_limit_is_told_in_kib(tmp_path):
    (tmp_path / "a").write_bytes(bytes(2000))
    with pytest.raises(UsageError, match="larger than 1 KiB"):
        read_file(tmp_path / "a", 1024)
