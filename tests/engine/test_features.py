"""What of vLLM is needed is looked for, feature by feature; what is missing, or new, switches its own feature off."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from unfrag.engine import plugin
from unfrag.engine.vllm import features, shape


@pytest.fixture(autouse=True)
def _as_at_start():
    features.forget()
    yield
    features.forget()


@pytest.fixture
def told():
    """What the log of this server says of unfrag."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    features.logger.addHandler(handler)
    yield lines
    features.logger.removeHandler(handler)


# What docs/versions.md says is off, by version; everything else is on.
OFF = {"0.30": {"expert_cache_file"}, "0.31": {"expert_cache_file"}}


@pytest.mark.parametrize("feature", features.FEATURES)
def test_this_vllm_has_it(feature):
    off = feature in OFF.get(features.version()[:4], ())
    assert (features.why_off(feature) is not None) == off, features.why_off(feature)


def test_a_name_that_is_gone_switches_off_what_needs_it_and_nothing_else(monkeypatch, told):
    from vllm.v1.core.block_pool import BlockPool

    monkeypatch.delattr(BlockPool, "move_block_hashes")
    assert not features.is_on("compaction")
    assert not features.is_on("compaction")
    assert sum("move_block_hashes" in line for line in told) == 1, "said once"
    assert features.is_on("health")
    assert features.is_on("flush")


def test_state_that_is_new_switches_off_what_changes_state(monkeypatch):
    """As if vLLM had begun to keep block ids in one more place."""
    known = shape.KNOWN[0]
    monkeypatch.setattr(shape, "KNOWN", (known._replace(needed=known.needed[:-1]),))
    assert "also keeps num_free_blocks" in shape.unlike()
    assert "num_free_blocks" in features.why_off("pool")
    assert "num_free_blocks" in features.why_off("compaction")
    assert features.why_off("health") is None


def test_the_tenth_failure_switches_a_feature_off(told):
    for _ in range(9):
        features.failed("health", "no luck")
    assert features.is_on("health")
    features.failed("health", "no luck")
    assert "failed 10 times" in features.why_off("health")
    assert sum("no luck" in line for line in told) == 2, "the first and the last are said"


def test_a_fault_while_loading_never_reaches_vllm(monkeypatch):
    def moved():
        raise AttributeError("moved")

    monkeypatch.setattr(plugin, "_add_methods", moved)
    plugin.register()


def test_registering_twice_is_the_same_as_once():
    from vllm.v1.engine.core import EngineCore

    plugin.register()
    first = EngineCore.unfrag_next
    plugin.register()
    assert EngineCore.unfrag_next is first


def test_disabled_it_does_nothing(monkeypatch):
    from fastapi import FastAPI
    from vllm.v1.engine.core import EngineCore

    monkeypatch.setenv(features.DISABLE_VARIABLE, "1")
    monkeypatch.delattr(EngineCore, "unfrag_next", raising=False)
    plugin.register()
    assert not hasattr(EngineCore, "unfrag_next")
    app = FastAPI()
    before = list(app.routes)
    plugin.endpoints().attach_router(app)
    assert list(app.routes) == before
    assert app.user_middleware == []


def test_endpoints_fulfil_vllms_protocol():
    from vllm.plugins.endpoint_plugins.interface import EndpointPlugin

    assert isinstance(plugin.endpoints(), EndpointPlugin)


FUTURE = """
import sys, types
version = types.ModuleType("vllm.version"); version.__version__ = "0.99.0"
vllm = types.ModuleType("vllm"); vllm.__path__ = []; vllm.version = version
sys.modules |= {"vllm": vllm, "vllm.version": version}
from unfrag.flags import ours
from unfrag.engine import plugin
from unfrag.engine.vllm import features
plugin.register()
plugin.endpoints()
print([features.is_on(feature) for feature in features.FEATURES])
"""


def test_a_vllm_of_the_future_is_left_as_it_is():
    """All names are gone: every feature is off, each said in one line, and nothing is raised."""
    done = subprocess.run(
        [sys.executable, "-c", FUTURE],
        capture_output=True,
        text=True,
        check=True,
        env={"UNFRAG_POOL": "contiguous", "UNFRAG_COMPACTION": "on", "PATH": ""},
    )
    assert done.stdout.strip() == str([False] * len(features.FEATURES))
    assert "vLLM 0.99.0 has no" in done.stderr
