"""A change that is under way, as somebody sees it who only watches."""

from __future__ import annotations

import pytest

from unfrag.apply.history import History
from unfrag.apply.lock import only_one
from unfrag.apply.unfinished import under_way
from unfrag.launchers import LaunchSpec


class Launcher:
    def __init__(self, path):
        self._path = path

    def read(self):
        return LaunchSpec(self._path, self._path.read_bytes(), "glm_vllm", "vllm serve m", "")


@pytest.fixture
def launcher(tmp_path, monkeypatch):
    monkeypatch.setenv("UNFRAG_STATE", str(tmp_path / "state"))
    (tmp_path / "glm.conf").write_text("old")
    return Launcher(tmp_path / "glm.conf")


def test_what_is_on_record_as_done_is_not_under_way(launcher):
    assert under_way(launcher) is None
    history = History()
    kept = history.keep(launcher.read(), b"new")
    history.mark(kept, "applied")
    assert under_way(launcher) is None


@pytest.mark.parametrize("state", ["pending", "going back"])
def test_one_that_is_being_made_is_told_from_one_that_was_cut_short(launcher, state):
    history = History()
    kept = history.mark(history.keep(launcher.read(), b"new"), state)
    with only_one(launcher.read().path):
        assert under_way(launcher) == (kept, False)
    assert under_way(launcher) == (kept, True)
