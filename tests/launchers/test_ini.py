"""Supervisor files: the command is found wherever it stands, and nothing else moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unfrag.commandline import change_flags
from unfrag.errors import UsageError
from unfrag.launchers.ini import find_command

FILE = (
    "; a comment\r\n[supervisord]\r\nnodaemon=true\r\n\r\n"
    "[program:other]\r\ncommand=sleep 1\r\n"
    "[program:glm_vllm]\r\n"
    "# command=old\r\n"
    'environment=A="b%%c",X=%(ENV_HOME)s\r\n'
    "command = /x/python -m vllm \\\r\n   --model /m  ; keep this\r\n   --port 8000\r\n"
    "autostart = true ; yes\r\n"
)


def test_only_the_intended_words_change():
    place = find_command(FILE, "glm_vllm")
    assert place.command.startswith("/x/python")
    edited = place.edited(lambda command: change_flags(command, {"--port": "9", "--block-size": "32"}))
    assert edited == FILE.replace("--port 8000", "--port 9 --block-size 32")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[program:a]\ncommand=x\n", "it has: a"),
        ("[supervisord]\n", "no program at all"),
        ("[program:glm_vllm]\nautostart=true\n", "no command="),
        ("command=x\n", "not a supervisor configuration"),
        ("", "no program at all"),
    ],
)
def test_a_file_without_the_program_is_refused_in_one_line(text, said):
    with pytest.raises(UsageError, match=said) as caught:
        find_command(text, "glm_vllm")
    assert "\n" not in str(caught.value)


line_ends = st.sampled_from(["\n", "\r\n"])
names = st.text("abcdefgh_", min_size=1, max_size=6)
values = st.text("abc /-_=%(){}'\"123,\t", max_size=20).map(str.strip)


@given(
    end=line_ends,
    before=st.lists(st.tuples(names, values), max_size=4),
    after=st.lists(st.tuples(names, values), max_size=4),
)
def test_any_file_keeps_every_byte_around_the_command(end, before, after):
    def options(pairs):
        return "".join(f"{name}x={value}{end}" for name, value in pairs)

    head = f"[program:one]{end}command=a --port 1{end}{options(before)}[program:two]{end}{options(after)}"
    text = f"{head}command=b --port 2{end}stopasgroup=true{end}{options(before)}"
    edited = find_command(text, "two").edited(lambda command: change_flags(command, {"--port": "3"}))
    assert edited == f"{head}command=b --port 3{end}stopasgroup=true{end}{options(before)}"
