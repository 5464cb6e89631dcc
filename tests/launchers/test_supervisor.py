"""Programs under a real supervisord: found, restarted with what their file says, refused where others would suffer."""

from __future__ import annotations

import re
import subprocess
import sys

import psutil
import pytest

from tests.waiting import until
from unfrag.errors import NotEnoughEvidence, UsageError
from unfrag.launchers import Edit
from unfrag.launchers.supervisor.program import SupervisorProgram
from unfrag.launchers.supervisor.rpc import Supervisord
from unfrag.rig.server import free_port

FILE = """\
[supervisord]
logfile={folder}/log
pidfile={folder}/pid
nodaemon=true
[unix_http_server]
file={folder}/socket
[inet_http_server]
port=127.0.0.1:{port}
username=who
password=p:w@1
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[include]
files = %(here)s/more/*.conf
"""
SLEEP = f"{sys.executable} -c 'import time; print(1); time.sleep(1000)' --port 1"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s")
    main, more = folder / "main.conf", folder / "more" / "programs.conf"
    more.parent.mkdir()
    main.write_text(FILE.format(folder=folder, port=free_port()))
    programs = {"alone": "", "in_own_group": "", "many": "numprocs=2\nprocess_name=%(process_num)s\n", "a": "", "b": ""}
    text = "".join(
        f"[program:{name}]\ncommand={SLEEP}\nstdout_logfile={folder}/%(program_name)s.out\n{options}"
        for name, options in programs.items()
    )
    text += f"[program:variable]\nenvironment=PORT=8765\ncommand={SLEEP.replace('--port 1', '--port %(ENV_PORT)s')}\n"
    more.write_text(text + "[group:own]\nprograms=in_own_group\n[group:both]\nprograms=a,b\n")
    process = subprocess.Popen([sys.executable, "-m", "supervisor.supervisord", "-c", str(main)], stdout=-3)
    try:
        until(lambda: _up(main), 30)
        yield main
    finally:
        process.terminate()
        process.wait(30)


def _up(main):
    try:
        infos = Supervisord(f"unix://{main.parent}/socket").call("getAllProcessInfo")
    except NotEnoughEvidence:
        return False
    return all(info["statename"] == "RUNNING" for info in infos)


def test_a_port_that_is_a_variable_is_read_from_the_process(file):
    assert SupervisorProgram(file, "variable").read().url == "http://127.0.0.1:8765"


@pytest.mark.parametrize("program", ["alone", "in_own_group"])
def test_a_program_of_an_included_file_is_restarted_with_what_it_says(file, program):
    launcher = SupervisorProgram(file, program)
    spec, before = launcher.read(), launcher.status()
    assert (spec.path.name, before.state) == ("programs.conf", "RUNNING")
    others = {p.pid for p in psutil.Process(before.pid).parent().children()} - {before.pid}
    spec.path.write_bytes(launcher.plan(spec, Edit({"--port": "2"})))
    launcher.restart()
    after = launcher.status()
    assert after.pid != before.pid
    until(lambda: launcher.running().endswith("--port 2"))  # for a moment after its fork it is still supervisord
    launcher.restart()
    assert launcher.status().pid != after.pid, "also when the file says what it said"
    assert all(psutil.pid_exists(pid) for pid in others), "nobody else is touched"
    assert until(lambda: launcher.tail(3)) in (["1"], ["1", "1"], ["1", "1", "1"])


def test_it_is_asked_over_http_with_a_password_too(file):
    address = re.search(r"port=(\S+)", file.read_text())[1]
    assert SupervisorProgram(file, "alone", f"http://who:p%3Aw%401@{address}").status().state in ("STARTING", "RUNNING")
    with pytest.raises(NotEnoughEvidence) as caught:
        SupervisorProgram(file, "alone", f"http://who:secret@{address}").status()
    assert "wants another name or password" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("program", "other"), [("many", "many:1"), ("a", "both:b")])
def test_what_cannot_be_restarted_alone_is_refused(file, program, other):
    launcher = SupervisorProgram(file, program)
    for ask in (launcher.status, launcher.restart):
        with pytest.raises(UsageError, match=other):
            ask()


def test_a_program_that_it_has_not_loaded_is_said(file):
    extra = file.parent / "more" / "new.conf"
    extra.write_text(f"[program:new]\ncommand={SLEEP}\nautostart=false\n")
    launcher = SupervisorProgram(file, "new")
    now = launcher.status()
    assert (now.state, now.failed) == ("UNLOADED", True)
    assert "supervisorctl update" in now.hint
    launcher.restart()
    assert launcher.status().state in ("STARTING", "RUNNING")


def test_the_log_is_what_supervisord_says_and_what_the_file_says_when_it_is_down(file, tmp_path):
    assert SupervisorProgram(file, "alone").log() == file.parent / "alone.out"
    (tmp_path / "glm.err").write_text("x\n")
    (tmp_path / "glm.out").touch()
    down = tmp_path / "down.conf"
    names = "stdout_logfile=%(here)s/%(program_name)s.out\nstderr_logfile=%(here)s/%(program_name)s.err\n"
    down.write_text(f"[program:glm]\ncommand=x\n{names}")
    assert SupervisorProgram(down, "glm").log() == tmp_path / "glm.err", "the one that holds anything"
    (tmp_path / "glm.err").unlink()
    (tmp_path / "glm.out").unlink()
    with pytest.raises(NotEnoughEvidence, match="--log"):
        SupervisorProgram(down, "glm").log()
