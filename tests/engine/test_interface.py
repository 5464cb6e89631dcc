"""The names of vLLM's inside that the plugin relies on. When vLLM moves one, it fails here."""

import logging

import pytest

from unfrag.engine import interface, plugin


def test_this_vllm_is_supported():
    assert interface.unsupported_version() is None


def test_another_version_is_named_and_left_alone(monkeypatch, caplog):
    from vllm.v1.engine.core import EngineCore

    monkeypatch.setattr(interface, "SUPPORTED", ("0.1",))
    monkeypatch.delattr(EngineCore, "unfrag_flush", raising=False)
    monkeypatch.setattr(plugin.logger, "propagate", True)
    with caplog.at_level(logging.WARNING, logger="vllm.unfrag"):
        logging.getLogger("vllm").addHandler(caplog.handler)
        plugin.register()
        logging.getLogger("vllm").removeHandler(caplog.handler)
    assert "stays out" in caplog.text
    assert not hasattr(EngineCore, "unfrag_flush")


def test_a_fault_while_loading_never_reaches_vllm(monkeypatch):
    def moved():
        raise AttributeError("moved")

    monkeypatch.setattr(interface, "unsupported_version", moved)
    plugin.register()


def test_registering_twice_is_the_same_as_once():
    from vllm.v1.engine.core import EngineCore

    plugin.register()
    first = EngineCore.unfrag_memory_stats
    plugin.register()
    assert EngineCore.unfrag_memory_stats is first


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("vllm.v1.core.block_pool:BlockPool", ["get_num_free_blocks", "get_usage", "evict_blocks"]),
        ("vllm.v1.executor.abstract:Executor", ["collective_rpc"]),
        ("vllm.v1.engine.async_llm:AsyncLLM", ["check_health"]),
        ("vllm.v1.engine.core_client:AsyncMPClient", ["_call_utility_async"]),
        ("vllm.entrypoints.cli.serve:ServeSubcommand", ["cmd", "validate", "subparser_init"]),
    ],
)
def test_the_classes_have_what_is_called(where, names):
    module, _, name = where.partition(":")
    known = getattr(__import__(module, fromlist=[name]), name)
    assert [n for n in names if not hasattr(known, n)] == []


def test_endpoints_fulfil_vllms_protocol():
    from vllm.plugins.endpoint_plugins.interface import EndpointPlugin

    assert isinstance(plugin.endpoints(), EndpointPlugin)
