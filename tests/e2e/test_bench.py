"""The way from load to a table, on the shared rig: GuideLLM, sampler, search, result, compare, diagnose."""

import json
import subprocess
import sys

import httpx
import pytest

from unfrag.bench.load import LoadGenerator
from unfrag.bench.workload import Prompt
from unfrag.errors import NotEnoughEvidence
from unfrag.rig.environment import SERVED_NAME


def unfrag(*words):
    return subprocess.run([sys.executable, "-m", "unfrag", *words], capture_output=True, text=True, check=False)


def test_bench_writes_a_result_and_compare_reads_it(rig, tmp_path):
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    words = ["--prompts", "12", "--mean-tokens", "300", "--output-tokens", "16", "--in-flight", "4"]
    words += ["--repeats", "2", "--ceiling", "8", "--label", "after", "--out", str(after)]
    done = unfrag("bench", "--url", rig.url, *words)
    assert done.returncode == 0, done.stderr
    result = json.loads(after.read_text())
    before.write_text(json.dumps({**result, "label": "before"}))
    assert result["schema_version"] == 1
    assert len(result["repeats"]) == 2
    for repeat in result["repeats"]:
        assert (repeat["requests"], repeat["failed"], repeat["preempted"]) == (12, 0, 0)
        assert 0 < repeat["ttft_p50"] <= repeat["ttft_p95"] <= repeat["ttft_p99"] < repeat["seconds"]
        assert repeat["tokens_per_second"] > 100
    (found,) = result["max_concurrency"]
    assert 1 <= found["value"] <= 8
    assert result["pool_tokens"] == 256 * 32
    assert "--num-gpu-blocks-override" in result["command"]
    compared = json.loads(unfrag("compare", str(before), str(after), "--json").stdout)
    assert compared["labels"] == ["before", "after"]
    assert {row["name"] for row in compared["rows"]} >= {"TTFT P95", "maximum concurrency", "failed requests"}
    table = unfrag("compare", str(before), str(after)).stdout
    assert "TTFT P95" in table
    assert "before" in table


def test_requests_that_the_server_refuses_are_counted_as_failed(rig):
    too_long = Prompt("长" * 60_000, 8)
    with LoadGenerator(rig.url, SERVED_NAME) as load:
        results = load.run((too_long, Prompt("你好", 8)), 1, 60, progress=False)
    assert [result.ok for result in results] == [False, True]
    assert "400" in results[0].error
    assert results[1].output_tokens == 8


def test_a_dead_server_is_said_and_leaves_no_process():
    with LoadGenerator("http://127.0.0.1:9", "none") as load:
        session = load._session
        with pytest.raises(NotEnoughEvidence, match="could not load the server"):
            load.run((Prompt("x", 1),), 1, 10, progress=False)
    assert session.processes() == []


def test_diagnose_live_adds_up_and_is_healthy_when_idle(rig):
    httpx.post(f"{rig.url}/flush_cache")
    done = unfrag("diagnose", "--url", rig.url, "--log", str(rig.log), "--config", str(rig.config), "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["verdict"] == "healthy"
    (card,) = report["ledger"]
    assert sum(line["bytes"] for line in card["lines"]) == card["total_bytes"]
    by_name = {line["what"]: line["bytes"] for line in card["lines"]}
    assert by_name["KV empty"] == 256 * 32 * 4096
    assert by_name["weights"] > 10 * 2**20
    assert [missing["fact"] for missing in report["unknown"]] == ["gpus", "allocator"]
    text = unfrag("diagnose", "--url", rig.url).stdout
    assert "KV pinned" in text
    assert "healthy" in text


def test_a_running_server_is_tuned_from_what_it_has_served(rig, tmp_path):
    for seed in range(3):
        body = {"model": SERVED_NAME, "prompt": [10 + seed, *range(20, 300)], "max_tokens": 8}
        httpx.post(f"{rig.url}/v1/completions", json=body, timeout=60, trust_env=False).raise_for_status()
    done = unfrag("tune", "--url", rig.url, "--json")
    assert done.returncode == 0, done.stderr
    plan = tmp_path / "tune.json"
    plan.write_text(done.stdout)
    found = json.loads(done.stdout)
    advice = {one["flag"]: one["value"] for one in found["flags"]}
    assert int(advice["--max-num-seqs"]) == found["held_tokens"] // found["request_tokens"]
    place = ["--config", str(rig.config), "--server", rig.server]
    shown = unfrag("apply", *place, "--plan", str(plan), "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert f"--max-num-seqs {advice['--max-num-seqs']}" in shown.stdout
