"""Supervisor files: the command is found wherever it stands, and nothing else moves."""

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from supervisor.options import UnhosedConfigParser

from unfrag.errors import UsageError
from unfrag.flags.line import change_flags, read_flags
from unfrag.launchers.supervisor.ini import find_command, must_be_startable
from unfrag.launchers.supervisor.program import SupervisorProgram

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
        ("[program:glm_vllm]\ncommand=x\ncommand=y\n", "2 command= lines, of which supervisord takes the last"),
        ("[program:glm_vllm]\ncommand=x\n[program:glm_vllm]\ncommand=y\n", "occurs 2 times"),
    ],
)
def test_a_file_without_the_program_is_refused_in_one_line(text, said):
    with pytest.raises(UsageError, match=said) as caught:
        find_command(text, "glm_vllm")
    assert "\n" not in str(caught.value)


# A whole file at random: what supervisord reads in it afterwards is told by supervisord's own parser.
WORDS = st.sampled_from(
    [
        *("/opt/venv/bin/python -m vllm.entrypoints.openai.api_server", "--model /m/GLM-4.7", "--port 8000"),
        *("--max_num_seqs=64", "--max-num-seqs 8", "--served-model-name 'a b'", '--chat-template "x %(ENV_HOME)s"'),
        *("--enforce-eager", "--seed -1", "--block-size 16", "--lora-modules a=/x b=/y", "%(here)s/x", "100%%"),
        *("--kv-cache-dtype fp16", "--no-enable-prefix-caching", "'--tool-call-parser' 'glm'", "ünïcode"),
    ]
)
GAPS = st.sampled_from([" ", "  ", " \\{end}    ", "{end}\t", " \\{end} "])
LINES = st.sampled_from(
    [
        *("; a comment", "# --port 1 in a comment", "autostart=true ; yes", 'environment=A="b,c",B=%(ENV_HOME)s', ""),
        *("stopasgroup = true", "redirect_stderr: true", "user=root", "directory=/tmp/a b", "stdout_logfile=/x%%y"),
        *("environment=X=1,{end}  Y=2", "priority=1", "numprocs=1"),
    ]
)
EDITS = st.dictionaries(
    st.sampled_from(["--port", "--max-num-seqs", "--block-size", "--enforce-eager", "--seed", "--new-flag"]),
    st.sampled_from(["1", "-7", "a b", "it's", '"x"']),
    min_size=0,
    max_size=3,
)


@st.composite
def supervisor_files(draw):
    """(text before the command, command, text after it)."""
    end = draw(st.sampled_from(["\n", "\r\n"]))

    def lines(of=LINES, **limits):
        drawn = draw(st.lists(of, unique_by=lambda line: line.split("=")[0].split(":")[0].strip(), **limits))
        return "".join(line.format(end=end) + end for line in drawn)

    def command():
        words = draw(st.lists(WORDS, max_size=8))
        return "/opt/venv/bin/vllm" + "".join(draw(GAPS).format(end=end) + word for word in words)

    def other(name):
        return f"[program:{name}]{end}{lines(max_size=3)}command={command()}{end}{lines(max_size=1)}"

    head = f"; top{end}[supervisord]{end}nodaemon=true{end}" + draw(
        st.sampled_from(["", f"[include]{end}files = *.x{end}"])
    )
    before = draw(st.lists(st.sampled_from(["a", "glm", "glm_vllm2"]), unique=True, max_size=2))
    behind = draw(st.sampled_from(["", f"[group:g]{end}programs=a{end}", other("z")]))
    equals = draw(st.sampled_from(["=", " = ", ": "]))
    middle = "".join(other(name) for name in before) + f"[program:glm_vllm]{end}" + lines(max_size=3)
    tail = draw(st.sampled_from(["", f" ; said here{end}", end, end * 2]))
    return head + middle + "command" + equals, command(), (tail or end) + lines(max_size=3) + behind


def read_by_supervisord(text):
    """Every section as supervisord reads it."""
    parser = UnhosedConfigParser()
    parser.read_string(text)
    return {section: dict(parser.items(section, raw=True)) for section in parser.sections()}


@settings(max_examples=300)
@given(
    file=supervisor_files(), edits=EDITS, removed=st.lists(st.sampled_from(["--port", "--chat-template"]), max_size=1)
)
def test_in_any_file_only_the_intended_words_change(file, edits, removed):
    before, command, after = file
    text = before + command + after
    gone = tuple(flag for flag in removed if flag not in edits)
    place = find_command(text, "glm_vllm")
    assert text[: place.start] == before, "the command begins where it begins"
    edited = place.edited(lambda words: change_flags(words, edits, gone))
    assert edited.startswith(before)
    assert edited.endswith(after)

    was, now = read_by_supervisord(text), read_by_supervisord(edited)
    old, new = was["program:glm_vllm"].pop("command"), now["program:glm_vllm"].pop("command")
    assert was == now, "nothing else is read otherwise"
    kept = {flag: value for flag, value in read_flags(old).items() if flag not in gone}
    assert read_flags(new) == {**kept, **edits}
    assert shlex.split(old), "as supervisord splits it"
    assert shlex.split(new)

    again = find_command(edited, "glm_vllm")
    assert again.edited(lambda words: change_flags(words, edits, gone)) == edited, "the same change twice is one"


@given(st.binary(max_size=200))
def test_bytes_of_any_encoding_come_through(noise):
    text = (
        b"[program:glm_vllm]\n# " + noise.replace(b"\n", b"").replace(b"\r", b"") + b"\ncommand=b --port 2\n"
    ).decode("utf-8", "surrogateescape")
    if len(text.splitlines()) != 3:
        return  # a line end of another kind within the comment
    edited = find_command(text, "glm_vllm").edited(lambda command: change_flags(command, {"--port": "3"}))
    assert edited == text.replace("--port 2", "--port 3")


def test_a_main_file_leads_to_the_one_that_it_includes(tmp_path):
    (tmp_path / "conf.d").mkdir()
    main, part = tmp_path / "supervisord.conf", tmp_path / "conf.d" / "glm.conf"
    main.write_text("[supervisord]\n[include]\nfiles = nothing/*.ini %(here)s/conf.d/*.conf\n")
    part.write_text(FILE)
    (tmp_path / "conf.d" / "a.conf").write_text("[program:other]\ncommand=x\n")
    spec = SupervisorProgram(main, "glm_vllm").read()
    assert spec.path == part
    with pytest.raises(UsageError, match=r"supervisord.conf: no \[program:nobody\]"):
        SupervisorProgram(main, "nobody").read()


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ("", "stopasgroup=true and killasgroup=true"),
        ("stopasgroup=false\nkillasgroup=yes\n", "stopasgroup=true:"),
        ("stopasgroup=TRUE ; implies the other\n", None),
    ],
)
def test_what_would_leave_workers_behind_is_warned_of(tmp_path, options, missing):
    file = tmp_path / "glm.conf"
    file.write_text(f"[program:glm_vllm]\ncommand=b\n{options}")
    warnings = SupervisorProgram(file, "glm_vllm").warnings()
    assert [missing in line for line in warnings] == ([True] if missing else [])


@pytest.mark.parametrize("words", ["90%", "%", "%(here", "%(here)/m", "%()s", "'m ; x' y", "m \\"])
def test_what_supervisord_cannot_start_is_refused(words):
    with pytest.raises(UsageError, match="supervisord cannot"):
        must_be_startable(f"[program:p]\ncommand=v {words}\n", "p")


@pytest.mark.parametrize("words", ["90%%", "%(here)s/m", "%(ENV_X)s", "%(process_num)02d", "m ; 5% 'x", "%%(x)", "''"])
def test_what_supervisord_starts_is_taken(words):
    must_be_startable(f"[program:p]\ncommand=v {words}\n", "p")
