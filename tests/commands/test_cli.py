"""What a user types and gets: one line on stderr, the right exit code, nothing on stdout that is not data."""

import json
import os
import socket

import pytest

from tests.commands.running import run
from unfrag.commands import target


@pytest.fixture
def dead_url():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize("words", [["nonsense"], ["diagnose", "--nonsense"], ["flush", "x"], ["compare"], []])
def test_a_wrong_command_line_is_2(capsys, words):
    code, out, _ = run(capsys, *words)
    assert (code, out) == (2, "")


@pytest.mark.parametrize("verb", ["diagnose", "flush", "bench"])
def test_a_dead_port_is_3_and_one_line(capsys, dead_url, verb):
    code, _, err = run(capsys, verb, "--url", dead_url)
    assert code == 3
    assert len(err.strip().splitlines()) == 1
    assert dead_url in err


def test_diagnose_reads_pasted_evidence(capsys, tmp_path):
    (tmp_path / "health.json").write_text(
        '{"gpu_cache_usage": 0.68, "free_blocks": 142, "largest_free_block": 30, "block_size_bytes": 16384}'
    )
    (tmp_path / "nvidia_smi.txt").write_text("11, 12288, GPU-00000000-aaaa\n12, 3072, GPU-00000000-aaaa\n")
    (tmp_path / "launch.txt").write_text("vllm serve m --tensor-parallel-size 4")
    (tmp_path / "context.json").write_text('{"engine": "vllm", "engine_version": "0.6.3", "gpus": null}')
    code, out, _ = run(capsys, "diagnose", "--evidence", str(tmp_path), "--json")
    report = json.loads(out)
    assert code == 0, "neither finding is critical"
    assert report["verdict"] == "gpu_imbalance"
    assert [finding["cause"] for finding in report["findings"]] == ["gpu_imbalance", "pool_fragmentation"]
    assert {missing["fact"] for missing in report["unknown"]} >= {"metrics", "log", "ledger"}
    assert run(capsys, "diagnose", "--evidence", str(tmp_path), "--fail-on", "warning")[0] == 1


def test_diagnose_as_text_speaks_of_the_same(capsys, tmp_path):
    (tmp_path / "log.txt").write_text("ERROR Free memory: 1.2 GiB, allocation failed\n")
    code, out, _ = run(capsys, "diagnose", "--evidence", str(tmp_path))
    assert code == 1
    assert "allocator_fragmentation" in out
    assert "Guides call this confirmed" in " ".join(out.split())


def test_an_oom_that_no_rule_explains_is_not_healthy(capsys, tmp_path):
    (tmp_path / "log.txt").write_text("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n")
    code, out, _ = run(capsys, "diagnose", "--evidence", str(tmp_path), "--json")
    report = json.loads(out)
    assert (code, report["healthy"]) == (1, [])
    best = report["findings"][0]
    assert (best["certainty"], best["confidence"] < 0.6) == ("possible", True), "a guess, and called one"
    assert best["fixes"][-1].startswith("to decide: ")


@pytest.mark.parametrize("url", ["garbage", "", "127.0.0.1:8000", "ftp://x", "http://127.0.0.1:999999"])
def test_no_address_is_2(capsys, url):
    code, _, err = run(capsys, "diagnose", "--url", url)
    assert code == 2
    assert "http://HOST:PORT" in err


@pytest.mark.parametrize("words", [["--log", "/none"], ["--config", "/none"]])
def test_a_mistyped_file_is_2(capsys, dead_url, words):
    assert run(capsys, "diagnose", "--url", dead_url, *words)[0] == 2


@pytest.mark.parametrize("verb", ["diagnose", "capture"])
def test_for_a_folder_of_logs_its_newest_is_named(capsys, tmp_path, dead_url, verb):
    words = [verb, "--url", dead_url, "--log", str(tmp_path)]
    code, _, err = run(capsys, *words)
    assert (code, len(err.splitlines())) == (2, 1)
    assert err.startswith(f"unfrag: --log {tmp_path} is a folder, and a log is one file")
    for age, name in enumerate(("new.log", "old.log", "older.txt")):
        (tmp_path / name).write_text("x\n")
        os.utime(tmp_path / name, (1_000_000 - age, 1_000_000 - age))
    assert f"--log {tmp_path / 'new.log'}" in run(capsys, *words)[2]


OOM = (
    "INFO 11-22 10:00:00 [core.py:3] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.96 GiB. GPU 0 has "
    "a total capacity of 79.18 GiB of which 1.08 GiB is free.\n"
)


def test_a_log_alone_heads_its_diagnosis_when_no_server_answers(capsys, tmp_path, dead_url, monkeypatch):
    monkeypatch.setattr(target, "URL", dead_url)
    log = tmp_path / "vllm.log"
    log.write_text(OOM)
    assert run(capsys, "diagnose", "--log", str(log))[1].startswith(f"{log}: ")
    assert json.loads(run(capsys, "diagnose", "--log", str(log), "--json")[1])["target"] == str(log)
    assert run(capsys, "diagnose", "--log", str(log), "--url", dead_url)[1].startswith(f"{dead_url}: ")


def test_a_clean_log_of_a_server_that_does_not_answer_is_not_healthy(capsys, tmp_path, dead_url, monkeypatch):
    monkeypatch.setattr(target, "URL", dead_url)
    log, packed = tmp_path / "vllm.log", tmp_path / "x.unfrag.tar.gz"
    log.write_text("INFO 11-22 10:00:00 [core.py:3] Application startup complete.\n")
    code, out, err = run(capsys, "diagnose", "--log", str(log), "--json")
    assert (code, json.loads(out)["healthy"]) == (3, [])
    assert err.startswith(f"unfrag: {log} alone does not say whether the server is healthy")
    assert len(err.splitlines()) == 1
    assert dead_url in err
    assert run(capsys, "capture", "--log", str(log), "--out", str(packed))[0] == 0
    code, out, _ = run(capsys, "diagnose", "--evidence", str(packed), "--json")
    assert (code, json.loads(out)["healthy"]) == (3, [])
    assert str(log) not in out


def test_an_empty_log_alone_is_said_in_one_line(capsys, tmp_path, dead_url, monkeypatch):
    monkeypatch.setattr(target, "URL", dead_url)
    (tmp_path / "vllm.log").touch()
    code, _, err = run(capsys, "capture", "--log", str(tmp_path / "vllm.log"))
    assert (code, len(err.splitlines())) == (3, 1)
    assert f"{tmp_path}/vllm.log is empty" in err


def test_bench_knows_before_the_load_that_it_cannot_write(capsys, dead_url):
    for place in ("/proc/x.json", "/none/x.json"):
        code, _, err = run(capsys, "bench", "--url", dead_url, "--out", place)
        assert code == 2
        assert "cannot be written" in err


@pytest.mark.parametrize("words", [["--prompts", "0"], ["--ttft-limit", "nan"], ["--repeats", "-3"]])
def test_numbers_that_make_no_sense_are_2(capsys, dead_url, words):
    assert run(capsys, "bench", "--url", dead_url, *words)[0] == 2


def test_an_empty_folder_is_not_enough_evidence(capsys, tmp_path):
    code, out, _ = run(capsys, "diagnose", "--evidence", str(tmp_path), "--json")
    assert code == 3
    assert json.loads(out)["verdict"] == "unknown"
    assert run(capsys, "diagnose", "--evidence", str(tmp_path / "none"))[0] == 2


def test_apply_dry_run_shows_the_diff_and_changes_nothing(capsys, tmp_path):
    config = tmp_path / "glm47flash.conf"
    config.write_bytes(b"[program:glm_vllm]\r\ncommand=python -m vllm.x --port 8000\r\n")
    before = config.read_bytes()
    words = ["apply", "--config", str(config), "--dry-run", "--", "--kv-cache-dtype", "fp16", "--block-size", "32"]
    code, out, err = run(capsys, *words)
    assert code == 0
    assert "+command=python -m vllm.x --port 8000 --kv-cache-dtype float16 --block-size 32" in out
    assert "fp16 is spelled float16" in err
    assert config.read_bytes() == before


def test_apply_dry_run_as_json(capsys, tmp_path):
    config = tmp_path / "a.conf"
    config.write_text("[program:glm_vllm]\ncommand=vllm serve m\n")
    code, out, _ = run(capsys, "apply", "--config", str(config), "--dry-run", "--json", "--", "--block-size", "32")
    report = json.loads(out)
    assert (code, report["state"], report["id"]) == (0, "dry run", None)
    assert "+command=vllm serve m --block-size 32" in report["diff"]
    assert report["expected_tokens"] is None
    assert any("this ends here: no supervisord address" in note for note in report["notes"])


def test_serve_hands_every_other_word_on_in_its_order():
    from unfrag.cli import _parser

    words = ["m", "--port", "8000", "-tp", "2", "--kv-cache-dtype=fp16", "--enforce-eager"]
    args, rest = _parser()[0].parse_known_args(["serve", *words[:3], "--rig", *words[3:]])
    assert (args.rig, rest) == (True, words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--program", "other", "--", "--a", "1"], "no [program:other]"),
        ([], "nothing to change"),
        (["--server", "ftp://x", "--", "--a", "1"], "unix://"),
    ],
)
def test_apply_refuses_in_one_line(capsys, tmp_path, words, said):
    config = tmp_path / "glm47flash.conf"
    config.write_text("[program:glm_vllm]\ncommand=python -m vllm.x\n")
    code, _, err = run(capsys, "apply", "--config", str(config), *words)
    assert code == 2
    assert said in err.splitlines()[-1]
    assert config.read_text() == "[program:glm_vllm]\ncommand=python -m vllm.x\n"


def test_apply_with_supervisor_down_is_3_and_changes_nothing(capsys, tmp_path):
    config = tmp_path / "glm47flash.conf"
    config.write_text("[program:glm_vllm]\ncommand=python -m vllm.x\n")
    server = f"unix://{tmp_path}/none.sock"
    code, _, err = run(capsys, "apply", "--config", str(config), "--server", server, "--", "--a", "1")
    assert code == 3
    assert "supervisord does not answer" in err
    assert config.read_text() == "[program:glm_vllm]\ncommand=python -m vllm.x\n"


def test_rollback_without_a_record_is_2(capsys, tmp_path):
    config = tmp_path / "glm47flash.conf"
    config.write_text("[program:glm_vllm]\ncommand=x\n")
    code, _, err = run(capsys, "rollback", "--config", str(config))
    assert code == 2
    assert "on record" in err


def test_compare_wants_results(capsys, tmp_path):
    (tmp_path / "a.json").write_text("{}")
    assert run(capsys, "compare", str(tmp_path / "a.json"))[0] == 2
    code, _, err = run(capsys, "compare", str(tmp_path / "a.json"), str(tmp_path / "a.json"))
    assert code == 2
    assert "not a result" in err


def test_bench_names_the_wrong_line_before_it_asks_the_server(capsys, tmp_path, dead_url):
    (tmp_path / "own.jsonl").write_text('{"prompt": "a"}\nnot json\n')
    code, _, err = run(capsys, "bench", "--url", dead_url, "--jsonl", str(tmp_path / "own.jsonl"))
    assert code == 2
    assert "line 2" in err


@pytest.mark.parametrize("words", [["diagnose"], ["flush"], ["bench"], ["diagnose", "--json"]])
def test_a_login_in_the_servers_address_is_not_printed(words, capsys):
    code, printed, err = run(capsys, *words, "--url", "http://user:sekret@127.0.0.1:1")
    assert code == 3
    assert "sekret" not in printed + err
    assert "[taken out]@127.0.0.1:1" in err


def test_compare_ends_with_a_sentence(capsys, tmp_path):
    from tests.bench.test_result import repeat, result

    for name, ttft in (("before", 4.0), ("after", 2.0)):
        result(name, repeat([ttft] * 4), repeat([ttft] * 4)).write(tmp_path / f"{name}.json")
    words = ["compare", str(tmp_path / "before.json"), str(tmp_path / "after.json")]
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert "after is better than before: TTFT P50 -50%" in out
    report = json.loads(run(capsys, *words, "--json")[1])
    assert report["verdicts"][0]["worse"] == []
