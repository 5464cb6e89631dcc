"""No input breaks a parser, none hangs one, and a file that would execute code executes none."""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.snapshots import a_snapshot
from unfrag.doctor import collect, diagnosis, ledger
from unfrag.doctor.probes import allocator, launch, nvidia_smi, series
from unfrag.doctor.probes.log import parse
from unfrag.doctor.rules.thresholds import load_thresholds
from unfrag.facts.snapshot import Gpus, Launch
from unfrag.facts.values import NO_ANSWER, Unknown
from unfrag.server import client, health, metrics

WORDS = st.sampled_from(
    [
        *(
            "GPU 0",
            "|   0  NVIDIA H100  On  |   00000000:1B:00.0 Off |",
            "| 1MiB / 2MiB |",
            "pid, used_memory",
            "Processes:",
        ),
        *(
            "GPU 00000000:1B:00.0",
            "    FB Memory Usage",
            "        Total : 81559 MiB",
            "        Process ID : 1",
            ",",
            "\n",
            "9" * 99,
        ),
        *(
            "--flag",
            "=",
            "'",
            '"',
            "\\\n",
            "LLM(",
            "tensor_parallel_size=",
            "-tp",
            "A_B=C",
            "RSS",
            "GiB",
            "1.5",
            "+12h",
            "->",
        ),
        *(
            "vllm:num_requests_running",
            "{",
            "}",
            "# TYPE",
            "NaN",
            "1e999",
            "\0",
            "\x1b[31m",
            "\ufeff",
            "显存",
            "cached-token",
        ),
    ]
)
TEXT = st.lists(WORDS | st.text(max_size=20), max_size=40).map(" ".join)


@given(TEXT)
def test_no_text_breaks_a_parser(text):
    nvidia_smi.parse(text)
    metrics.parse(text)
    health.parse(text.encode("utf-8", "replace"))
    launch.of_text(text, "test")
    series.read(text)


@pytest.fixture(scope="module")
def _pages_are_read():
    """What the first diagnosis reads and compiles is not part of the time that an example may take."""
    started = launch.of_text("vllm serve m", "test")
    first = a_snapshot(log=parse("x"), gpus=nvidia_smi.parse("x"), launch=started, series=series.read("x"))
    diagnosis.diagnose(first, load_thresholds())


@pytest.mark.usefixtures("_pages_are_read")
@given(TEXT, TEXT, TEXT)
def test_no_pasted_text_breaks_the_diagnosis(log, smi, line):
    gpus, started = nvidia_smi.parse(smi), launch.of_text(line, "test")
    snapshot = a_snapshot(
        log=parse(log), gpus=gpus, launch=started, series=series.read(smi), notes=parse(smi), cards=line
    )
    found = diagnosis.diagnose(snapshot, load_thresholds())
    for card in found.ledger or ():
        assert sum(part.bytes for part in card.lines) == card.total_bytes


@given(st.binary(max_size=500))
def test_no_bytes_break_the_readers_of_snapshots_and_health(content):
    allocator.parse(content)
    health.parse(content)


def test_ten_megabytes_on_one_line_take_no_longer_than_they_must():
    line = "x=1, " * 2_000_000
    started = time.monotonic()
    nvidia_smi.parse(line)
    series.read(line)
    launch.of_text(line, "test")
    parse(line)
    assert time.monotonic() - started < 20, "a parser is worse than linear"


class _Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_that_would_execute_code_is_not_read(tmp_path):
    target = tmp_path / "made"
    (tmp_path / "snapshot.pickle").write_bytes(pickle.dumps({"segments": [_Evil(str(target))]}))
    found = allocator.read(tmp_path / "snapshot.pickle")
    assert isinstance(found, Unknown)
    assert "mkdir" in found.why
    assert not target.exists()


SEGMENTS = [
    {
        "device": 0,
        "total_size": 2 << 30,
        "allocated_size": 1 << 30,
        "blocks": [{"size": 64 << 20, "state": state} for _ in range(16) for state in ("active_allocated", "inactive")],
    },
    {"device": 1, "total_size": 20 << 20, "allocated_size": 0, "blocks": [{"size": 20 << 20, "state": "inactive"}]},
]


@pytest.mark.parametrize("form", ["pickle", "json"])
def test_an_allocator_snapshot_says_what_a_request_would_meet(tmp_path, form):
    import msgspec

    content = pickle.dumps({"segments": SEGMENTS}) if form == "pickle" else msgspec.json.encode({"segments": SEGMENTS})
    path = tmp_path / f"snapshot.{form}"
    path.write_bytes(content)
    found = allocator.read(path)
    assert not isinstance(found, Unknown)
    holes, whole = found
    assert (holes.inactive_split_bytes, holes.largest_free_bytes) == (1 << 30, 64 << 20)
    assert (whole.inactive_split_bytes, whole.largest_free_bytes) == (0, 20 << 20)
    snapshot = a_snapshot(allocator=found)
    assert diagnosis.diagnose(snapshot, load_thresholds()).verdict == "allocator_fragmentation"


def _served(handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class _Trickle(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        while True:
            try:
                self.wfile.write(b" ")
                self.wfile.flush()
            except OSError:
                return
            time.sleep(0.2)

    def log_message(self, *_):
        pass


class _Redirect(_Trickle):
    def do_GET(self):
        self.send_response(302)
        self.send_header("Location", self.path)
        self.end_headers()


@pytest.mark.parametrize("handler", [_Trickle, _Redirect])
def test_a_server_that_trickles_or_redirects_for_ever(handler):
    server = _served(handler)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    started = time.monotonic()
    try:
        with client.Server(url) as asked:
            found = asked.pool(), asked.metrics(), asked.version()
    finally:
        server.shutdown()
    assert all(isinstance(fact, Unknown) for fact in found)
    assert time.monotonic() - started < 4 * client.TIMEOUT_SECONDS


def test_a_port_that_nobody_answers():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with client.Server(f"http://127.0.0.1:{silent.getsockname()[1]}") as asked:
            found = asked.version()
    assert isinstance(found, Unknown)
    assert found.why.startswith(NO_ANSWER)


@pytest.mark.parametrize(
    "name", ["nvidia_smi.txt", "metrics.txt", "health.json", "launch.txt", "context.json", "log.txt"]
)
def test_evidence_that_is_no_file_or_no_text(tmp_path, name):
    (tmp_path / name).symlink_to("/dev/zero")
    diagnosis.diagnose(collect.evidence(tmp_path), load_thresholds())
    (tmp_path / name).unlink()
    (tmp_path / name).write_bytes(os.urandom(5000))
    diagnosis.diagnose(collect.evidence(tmp_path), load_thresholds())


BOX = """\
+-----------------------------------------------------------------------------------------+
|   0  NVIDIA H100 80GB HBM3          On  |   00000000:1B:00.0 Off |                    0 |
| N/A   34C    P0             115W / 700W |   74312MiB / 81559MiB |      0%      Default |
| Processes:                                                                              |
|    0   N/A  N/A           12345      C   VLLM::EngineCore                      74302MiB |
"""
DETAILS = """\
GPU 00000000:1B:00.0
    Product Name                          : NVIDIA H100 80GB HBM3
    GPU UUID                              : GPU-1b2c3d4e-0000
    FB Memory Usage
        Total                             : 81559 MiB
        Reserved                          : 600 MiB
        Used                              : 73712 MiB
        Free                              : 7247 MiB
    BAR1 Memory Usage
        Total                             : 131072 MiB
        Used                              : 3 MiB
    Processes
        GPU instance ID                   : N/A
        Process ID                        : 12345
            Type                          : C
            Name                          : VLLM::EngineCore
            Used GPU Memory               : 74302 MiB
"""
CSV = (
    "index, uuid, name, memory.total [MiB], memory.used [MiB]\n"
    "0, GPU-1b2c3d4e-0000, NVIDIA H100, 81559 MiB, 74312 MiB\n"
)


@pytest.mark.parametrize("text", [BOX, DETAILS, CSV, BOX.replace("\n", "\r\n")])
def test_one_card_in_every_shape_of_nvidia_smi(text):
    found = nvidia_smi.parse(text)
    assert isinstance(found, Gpus)
    (gpu,) = found.gpus
    assert (gpu.total_bytes, gpu.used_bytes) == (81559 << 20, 74312 << 20)
    if "EngineCore" in text:
        (process,) = found.on(gpu)
        assert (process.pid, process.used_bytes, process.name) == (12345, 74302 << 20, "VLLM::EngineCore")
    cards = ledger.build(a_snapshot(gpus=found))
    assert not isinstance(cards, Unknown)


def test_several_looks_at_a_card_are_its_history():
    found = nvidia_smi.parse("".join(CSV.replace("74312", str(70000 + i)) for i in range(4)))
    assert isinstance(found, Gpus)
    assert [held >> 20 for held in (*found.gpus[0].history, found.gpus[0].used_bytes)] == [70000, 70001, 70002, 70003]


@pytest.mark.parametrize(
    ("text", "flags", "env"),
    [
        ("vllm serve m -tp 4 --max_model_len=8k", {"--tensor-parallel-size": "4", "--max-model-len": "8k"}, {}),
        ("LLM(model='m', tensor_parallel_size=2)", {"--model": "m", "--tensor-parallel-size": "2"}, {}),
        ("docker run -e A_KEY=1 img --tp-size 8", {"--tensor-parallel-size": "8"}, {"A_KEY": "1"}),
        ("environment:\n  NCCL_DEBUG: INFO\ncommand: >\n  --port 1", {"--port": "1"}, {"NCCL_DEBUG": "INFO"}),
        (
            "non-default args: {'max_model_len': 32768, 'model': '/m'}",
            {"--max-model-len": "32768", "--model": "/m"},
            {},
        ),
    ],
)
def test_every_way_to_say_how_a_server_was_started(text, flags, env):
    found = launch.of_text(text, "test")
    assert isinstance(found, Launch)
    assert flags.items() <= found.flags.items()
    assert env.items() <= found.env.items()
