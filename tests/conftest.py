"""What several tests share: a clean environment, and one rig for all that only read from it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

SMALL_POOL = {"--block-size": "32", "--num-gpu-blocks-override": "257", "--max-num-seqs": "16"}


# With two workers on two cores, engines that use both would wait for each other's threads. Read before torch is loaded.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A claim about time belongs into benchmarks/: on a busy machine any test is slow.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# A shell starts background jobs with SIGINT ignored, and children inherit that: the tests send it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="also what takes minutes: every kill point, every fault")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--slow"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="takes minutes: make test-slow"))


@pytest.fixture(autouse=True)
def _own_state(tmp_path_factory, monkeypatch):
    """Backups and records of a test go to a folder of its own; nothing of the caller's environment leaks in."""
    monkeypatch.setenv("UNFRAG_STATE", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    for name in ("UNFRAG_TOKEN", "VLLM_PLUGINS", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def rig():
    """Real vLLM with unfrag's plugin under a real supervisord: 256 blocks of 32 tokens. Tests leave it as it was."""
    from unfrag.rig.server import Rig

    with Rig(SMALL_POOL) as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="session")
def root() -> Path:
    return Path(__file__).parent.parent


@pytest.fixture
def processor_seconds():
    """Processor seconds of a call, the least of three: eight times the text may take eight times as long, and a bit."""

    def measure(function, text):
        import time

        def once():
            start = time.process_time()
            function(text)
            return time.process_time() - start

        return min(once() for _ in range(3))

    return measure
