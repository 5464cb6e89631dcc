"""Ctrl-C in `apply`: taken back, said, and exit 4."""

import os
import signal

import pytest

from tests.apply.world import Answers, World

GOOD = "vllm serve m --port 1"


@pytest.fixture
def world(tmp_path):
    answers = Answers()
    made = World(tmp_path, answers.url)
    answers.world = made
    made.file.write_bytes(made.say(GOOD))
    made.set()
    made.start()
    yield made
    answers.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_is_taken_back_and_said(world, monkeypatch, number):
    start = World.start

    def slow(self):
        start(self)
        if len(self.state["started"]) == 2:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(World, "start", slow)
    done = world.run("apply", "--", "--seed", "7")
    assert done.code == 4
    assert "interrupted" in done.err
    assert "The change was taken back; the old server runs again" in done.err
    assert world.file.read_bytes() == world.say(GOOD)
