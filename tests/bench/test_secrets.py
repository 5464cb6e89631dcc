"""A result is made to be passed round: it holds no key, and its file is its owner's."""

import msgspec

from tests import planted
from unfrag.bench import run
from unfrag.bench.result import Result
from unfrag.bench.run import BenchPlan
from unfrag.bench.workload import Workload
from unfrag.facts.snapshot import Launch

NOBODY = "http://me:fakeKeyOne1@127.0.0.1:9"


def measured(monkeypatch, command) -> Result:
    monkeypatch.setattr(run.launch, "of_server", lambda url: Launch(command, {}, "process 9"))
    return run._result(NOBODY, "a", Workload((), (), "none"), BenchPlan(), [], [])


def test_no_key_of_the_launch_line_is_stored(monkeypatch):
    for line in planted.contexts("keys"):
        case = planted.Planted(line)
        written = msgspec.json.encode(measured(monkeypatch, case.text)).decode()
        assert case.left_in(written) == [], line
        assert "fakeKeyOne1" not in written


def test_the_rest_of_the_line_is(monkeypatch):
    line = "vllm serve m --api-key fakeKeyTwo2 --max-num-seqs 64"
    assert measured(monkeypatch, line).command == "vllm serve m --api-key [taken out] --max-num-seqs 64"


def test_its_file_is_its_owners(monkeypatch, tmp_path):
    path = tmp_path / "a.json"
    path.write_text("{}")
    path.chmod(0o644)
    measured(monkeypatch, "vllm serve m").write(path)
    assert path.stat().st_mode & 0o777 == 0o600
