"""What real processes do, told from the outside."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.waiting import until
from unfrag.guard.activity import Processes

SERVER = """
import subprocess, sys
child = subprocess.Popen({child!r})
print(child.pid, flush=True)
import time
time.sleep(600)
"""
WAITS = [sys.executable, "-c", "import time; time.sleep(600)"]
COMPUTES = [sys.executable, "-c", "while True: pass"]
READS = [sys.executable, "-c", "while True: open('/dev/zero', 'rb').read(1 << 16); import time; time.sleep(0.001)"]


class Server:
    """A process, and a child of it that stands for the engine."""

    def __init__(self, child):
        self.process = subprocess.Popen([sys.executable, "-c", SERVER.format(child=child)], stdout=subprocess.PIPE)
        self.engine = psutil.Process(int(self.process.stdout.readline()))
        self.processes = Processes(time.monotonic)

    def activity(self):
        return self.processes.activity(self.process.pid)

    def becomes(self, activity):
        until(lambda: self.activity() == activity, 20)

    def end(self):
        for process in (self.engine, self.process):
            try:
                process.send_signal(signal.SIGKILL)
            except (psutil.Error, OSError):
                continue
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def server(request):
    server = Server(request.param)
    yield server
    server.end()


@pytest.mark.parametrize(
    ("server", "activity"), [(WAITS, "idle"), (COMPUTES, "busy"), (READS, "busy")], indirect=["server"]
)
def test_who_works_is_told_from_who_waits(server, activity):
    assert server.activity() is None, "one poll shows nothing"
    server.becomes(activity)


@pytest.mark.parametrize("server", [COMPUTES], indirect=True)
def test_a_process_that_was_stopped_is_seen(server):
    server.becomes("busy")
    server.engine.suspend()
    server.becomes("stopped")
    server.engine.resume()
    server.becomes("busy")


@pytest.mark.parametrize("server", [WAITS], indirect=True)
def test_an_engine_that_died_and_is_not_buried_is_seen(server):
    server.becomes("idle")
    server.engine.kill()
    server.becomes("broken")


def test_a_compiler_below_it_is_seen(tmp_path):
    compiler = tmp_path / "ptxas"
    shutil.copy(shutil.which("sleep"), compiler)
    server = Server([str(compiler), "600"])
    try:
        server.becomes("compiling")
    finally:
        server.end()


def test_who_is_not_there_is_not_known():
    processes = Processes(time.monotonic)
    assert processes.activity(None) is None
    assert processes.activity(2**22 + 1) is None
