"""Where configurations come from, and the checkpoint's own word on its weights."""

from __future__ import annotations

import http.server
import json
import threading

import pytest

from tests.plan.test_estimate import LLAMA_8B, plan
from unfrag.errors import NotEnoughEvidence, UsageError
from unfrag.plan import architecture, model, weights
from unfrag.plan.estimate import Choice

NAME = "some-org/Llama-8B"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A server that answers as the hub does for one model, and a home without a cache."""
    folder = tmp_path / "served" / NAME / "resolve" / "main"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(LLAMA_8B))
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / "served"))

        def do_GET(self):
            asked.append((self.path, self.headers.get("Authorization")))
            super().do_GET()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "hf"),
        "UNFRAG_CACHE": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": "hf_secret",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    yield asked
    server.shutdown()


def test_a_model_id_is_asked_of_the_hub_once(hub):
    assert model.find(NAME).config == LLAMA_8B
    assert [path.rsplit("/", 1)[1] for path, _ in hub] == ["config.json", "model.safetensors.index.json"]
    assert hub[0][1] == "Bearer hf_secret"
    assert model.find(NAME).name == NAME
    assert len(hub) == 2


def test_the_hubs_cache_comes_before_the_hub(hub, tmp_path):
    copy = tmp_path / "hf" / "hub" / "models--some-org--Llama-8B" / "snapshots" / "abc"
    copy.mkdir(parents=True)
    (copy / "config.json").write_text(json.dumps({**LLAMA_8B, "num_hidden_layers": 7}))
    assert model.find(NAME).config["num_hidden_layers"] == 7
    assert hub == []


def test_a_model_that_cannot_be_had(hub, monkeypatch):
    with pytest.raises(NotEnoughEvidence, match="404"):
        model.find("some-org/other")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NotEnoughEvidence, match="HF_HUB_OFFLINE"):
        model.find("some-org/other")
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(NotEnoughEvidence, match="cannot be reached"):
        model.find("some-org/other")


@pytest.mark.parametrize("said", ["nowhere.json", "./some/folder", "a/b/c", "x" * 5000, ""])
def test_what_is_no_model(said):
    with pytest.raises(UsageError):
        model.find(said)


def test_a_checkpoints_index_is_the_measure_of_its_weights(capsys, tmp_path):
    total = int(15.5 * 2**30)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": total}}))
    _, found = plan(capsys, tmp_path, LLAMA_8B, "--gpu", "H100", "--gpu-count", "2", "--tp", "2", "--formula")
    assert found["per_rank"]["weights_bytes"] == pytest.approx(total / 2, rel=0.001)
    assert "checkpoint" in found["backend"]


def test_an_index_of_something_else_is_left_alone():
    shape = architecture.read(LLAMA_8B)
    assert weights.measured(shape, Choice(), 5) is None
    assert weights.measured(shape, Choice(), None) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"metadata": {"total_size": "many"}}', "\0\0"])
def test_a_damaged_index_is_no_index(tmp_path, text):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_8B))
    (tmp_path / "model.safetensors.index.json").write_text(text)
    assert model.find(str(tmp_path)).weights_bytes is None
