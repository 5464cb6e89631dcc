"""What may be called healthy, which advice may be given, and in whose words."""

import http.server
import threading

import pytest

from tests.doctor.test_rules import LOADED, READY, SIZED, START, torch_oom
from tests.snapshots import a_snapshot
from unfrag import cli
from unfrag.doctor import collect, diagnosis
from unfrag.doctor.probes import launch
from unfrag.doctor.probes.log import parse
from unfrag.doctor.rules.thresholds import load_thresholds
from unfrag.facts.snapshot import Launch, Metrics
from unfrag.facts.values import NO_ANSWER, Unknown
from unfrag.flags.check import check

TIGHT = ("300.00 MiB", "100.00 MiB", "20.00 MiB", "79.10 GiB", "77.00 GiB")


def judged(**facts):
    return diagnosis.diagnose(a_snapshot(**facts), load_thresholds())


def fixes(**facts):
    return [fix for finding in judged(**facts).findings for fix in finding.fixes]


def test_a_server_that_cannot_be_asked_is_not_healthy(capsys):
    assert cli.main(["diagnose", "--url", "http://127.0.0.1:9", "--json"]) == 3
    assert '"verdict": "unknown"' in capsys.readouterr().out


class _Refuses(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(500)

    def log_message(self, *_):
        pass


def test_a_server_that_answers_500_is_not_healthy(capsys):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refuses)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert cli.main(["diagnose", "--url", f"http://127.0.0.1:{server.server_address[1]}"]) == 3
    finally:
        server.shutdown()
    assert "answers 500" in capsys.readouterr().err


def test_a_server_that_listens_and_never_answers_is_stalled():
    silent = Unknown(f"{NO_ANSWER} within 2 s")
    assert judged(pool=silent, metrics=silent).verdict == "engine_stalled"


def test_nothing_is_healthy_that_was_not_looked_at():
    assert judged(log=parse(START + "INFO Loading weights\n")).healthy == ()
    served = judged(log=parse(START + LOADED + SIZED + READY)).healthy
    assert any("weights" in sentence for sentence in served)
    assert not any("cards" in sentence for sentence in served)


def test_a_server_that_died_of_the_same_again_and_again_will_do_so_again():
    one = START + LOADED + SIZED + READY
    text = "".join(one + torch_oom(*TIGHT).ooms[0].text + "\n" for _ in range(3)) + one + one
    assert judged(log=parse(text)).findings
    assert judged(log=parse(one + torch_oom(*TIGHT).ooms[0].text + "\n" + one + one)).findings == ()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("vllm serve m --max-num-batched-tokens 8192", "--max-num-batched-tokens 4096"),
        ("vllm serve m --max-num-batched-tokens 512", None),
        ("python -m sglang.launch_server --chunked-prefill-size 8192", "--chunked-prefill-size 4096"),
        ("lmdeploy serve api_server m", "--max-prefill-token-num 2048"),
    ],
)
def test_a_smaller_step_is_smaller_and_in_the_engines_own_words(line, expected):
    said = fixes(log=torch_oom(*TIGHT, before=START + LOADED + SIZED + READY), launch=launch.of_text(line, "test"))
    steps = [fix for fix in said if "batched-tokens" in fix or "prefill" in fix.split()[0]]
    assert [step.split("   ")[0] for step in steps][:1] == ([expected] if expected else [])


def test_what_is_set_already_is_not_advised():
    log = torch_oom("1.00 GiB", "900.00 MiB", "1.40 GiB", "78.30 GiB", "76.00 GiB")
    setting = Launch("vllm serve m", {}, "test", {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"})
    assert not any("expandable_segments:True" in fix for fix in fixes(log=log, launch=setting))


def test_no_share_of_the_card_is_advised_while_others_hold_it():
    log = torch_oom("1.00 GiB", "900.00 MiB", "120.00 MiB", mine="40.00 GiB", allocated="39.00 GiB", before=READY)
    assert not any("--gpu-memory-utilization" in fix for fix in fixes(log=log))


def test_waiting_in_an_empty_pool_is_a_matter_of_max_num_seqs():
    found = judged(metrics=Metrics(running=8, waiting=44, kv_cache_usage=0.2)).findings[0]
    assert found.cause == "not_memory"
    assert found.fixes[0].startswith("--max-num-seqs 36")


@pytest.mark.parametrize(
    ("flags", "wrong"),
    [
        ("--gpu-memory-utilization 95", "no share"),
        ("--tensor-parallel-size two", "no whole number"),
        ("--kv-cache-dtype fp16", "spelled float16"),
        ("--kv-cache-dtype maybe", "none of its values"),
        ("--max-model-length 8", "did you mean --max-model-len"),
        ("--mem-fraction-static 0.8", "SGLang"),
        ("--max-model-len 8k --kv-cache-dtype fp8 --no-enable-prefix-caching -O3", None),
    ],
)
def test_flags_are_held_against_the_version(flags, wrong):
    found = check(launch.of_text(f"vllm serve m {flags}", "test"), "vllm", "0.32.0")
    assert (wrong is None) == (found == [])
    if wrong:
        assert wrong in found[0][1]


def test_a_context_that_the_launch_line_gives_is_not_said_to_be_missing(tmp_path):
    (tmp_path / "log.txt").write_text("INFO:     Application startup complete.\n")
    for line, given in (("vllm serve m --max-model-len 32k", True), ("vllm serve m --max-model-len many", False)):
        (tmp_path / "launch.txt").write_text(line)
        found = diagnosis.diagnose(collect.evidence(tmp_path), load_thresholds())
        assert ("max_model_len" not in {missing.fact for missing in found.unknown}) is given
