"""A capture reads back to the same findings and holds no secret."""

import tarfile
from pathlib import Path

import pytest

from tests import planted
from unfrag import cli
from unfrag.doctor import capture, collect, diagnosis
from unfrag.doctor.allowed.log import allow_log
from unfrag.doctor.rules.thresholds import load_thresholds
from unfrag.errors import UsageError
from unfrag.redaction import redact

CASES = sorted((Path(__file__).parent / "cases").iterdir())
SECRETS = {
    "flag": "vllm serve m --api-key s3cr3tvalue --max-model-len 4096",
    "equals": "vllm serve m --api-key=s3cr3tvalue",
    "environment": "HF_TOKEN=s3cr3tvalue VLLM_API_KEY='s3cr3tvalue' vllm serve m",
    "header": "curl -H 'Authorization: Bearer s3cr3tvalue' http://127.0.0.1:8000",
    "hub": "token hf_s3cr3tvalueABCDEFG was refused",
    "address": "https://me:s3cr3tvalue@proxy.example/",
    "prompt": "INFO Received request cmpl-1: prompt: 's3cr3tvalue and more', params: SamplingParams(n=1)",
    "messages": '{"messages": [{"role": "user", "content": "s3cr3tvalue"}]}',
    "two values": "vllm serve m --api-key s3cr3tone s3cr3ttwo --max-model-len 4096",
    "cloud": "export AWS_SECRET_ACCESS_KEY=s3cr3tvalue; aws_secret_access_key: s3cr3tvalue",
    "database": "postgres://me:s3cr3tvalue@db redis://:s3cr3tvalue@host",
    "cookie": "Cookie: session=s3cr3tvalue",
    "private key": "-----BEGIN RSA PRIVATE KEY-----\ns3cr3tvalue\n-----END RSA PRIVATE KEY-----",
    "prompt of two lines": "INFO Received request cmpl-1: prompt: 'first\nsecond s3cr3tvalue\nthird', params: s3cr3t",
    "arguments": "non-default args: {'api_key': ['s3cr3tvalue'], 'max_model_len': 32768}",
}


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS)
def test_no_secret_is_left(text):
    assert "s3cr3t" not in redact(text)


def test_ids_of_a_prompts_tokens_are_taken_out():
    assert "15, 1, 9" not in redact("prompt_token_ids: [15, 1, 9, 12], lora_request: None")


def test_what_a_diagnosis_needs_is_left():
    line = "vllm serve m --max-model-len 4096 --max-num-batched-tokens 8192 --kv-cache-dtype fp8"
    assert redact(line) == line
    log = "GPU KV cache size: 240,112 tokens, Maximum concurrency for 65,536 tokens per request: 3.66x"
    assert redact(log) == log


def bytes_of(ledger):
    """What the cards hold; of the processes on them only known names stay."""
    return ledger and [(card.total_bytes, [(line.bytes, line.source) for line in card.lines]) for card in ledger]


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_it_reads_back_to_the_same_findings(tmp_path, case):
    before = diagnosis.diagnose(collect.evidence(case), load_thresholds())
    path = tmp_path / "one.unfrag.tar.gz"
    capture.pack(capture.files_of(capture.facts_of(collect.evidence(case)), "", case / "log.txt")[0], path)
    after = diagnosis.diagnose(capture.read(path), load_thresholds())
    assert [(f.id, f.confidence, f.severity) for f in after.findings] == [
        (f.id, f.confidence, f.severity) for f in before.findings
    ]
    assert bytes_of(after.ledger) == bytes_of(before.ledger)


def test_secrets_in_evidence_do_not_reach_the_file(tmp_path, capsys):
    (tmp_path / "log.txt").write_text("\n".join(SECRETS.values()))
    (tmp_path / "launch.txt").write_text(SECRETS["environment"])
    out = tmp_path / "out.unfrag.tar.gz"
    assert cli.main(["capture", "--evidence", str(tmp_path), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "s3cr3t" not in said.out + said.err
    with tarfile.open(out) as tar:
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            assert b"s3cr3t" not in content.read(), member.name
    assert out.stat().st_mode & 0o077 == 0


def test_a_dry_run_writes_nothing_and_a_file_is_never_overwritten(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.txt").write_text("INFO nothing\n")
    assert cli.main(["capture", "--evidence", str(tmp_path), "--dry-run"]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.txt"]
    assert "facts.json" in capsys.readouterr().err
    taken = tmp_path / "taken.tar.gz"
    taken.write_text("mine")
    assert cli.main(["capture", "--evidence", str(tmp_path), "--out", str(taken)]) == 2
    assert taken.read_text() == "mine"


@pytest.mark.parametrize("part", ["keys", "prompts", "unnamed"])
def test_of_all_that_is_planted_nothing_is_in_a_log_of_a_capture(part):
    left = {
        line: case.left_in(allow_log(case.text).text)
        for line in planted.contexts(part)
        if (case := planted.Planted(line))
    }
    assert {line: secrets for line, secrets in left.items() if secrets} == {}


@pytest.mark.parametrize("word", planted.contexts("harmless"))
def test_a_harmless_word_stays_in_a_log_of_a_capture(word):
    assert allow_log(word).text == word
    assert word in allow_log(f"INFO 11-22 10:00:00 [core.py:3] something with {word}, else").text


def packed(folder, *more):
    """Everything that `capture` writes of a folder of evidence."""
    out = folder.parent / "out.unfrag.tar.gz"
    out.unlink(missing_ok=True)
    assert cli.main(["capture", "--evidence", str(folder), "--out", str(out), *more]) == 0
    with tarfile.open(out) as tar:
        return {member.name: tar.extractfile(member).read().decode() for member in tar}


OOM = (
    "ERROR 11-22 10:00:00 [core.py:3] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.96 GiB. "
    "GPU 0 has a total capacity of 79.18 GiB of which 1.08 GiB is free.\n"
)


def test_of_all_that_is_planted_nothing_is_in_a_capture(tmp_path):
    """In the log, before and behind what a rule quotes, in the launch line, in labels, in what people say of cards."""
    folder = tmp_path / "evidence"
    folder.mkdir()
    cases = [planted.Planted(line) for part in ("keys", "prompts", "unnamed") for line in planted.contexts(part)]
    secrets = {secret for case in cases for secret in case.secrets}
    text = "\n".join(OOM + case.text for case in cases)
    (folder / "log.txt").write_text(text)
    (folder / "launch.txt").write_text("vllm serve m # LMCache max_local_cpu_size 200\n" + text)
    (folder / "metrics.txt").write_text("\n".join(case.text for case in cases if case.text.startswith("vllm:")))
    (folder / "context.json").write_text(
        '{"gpus": "4x L40S of Mathilde, 768 GB RAM", "model": "pelicans", "engine": "aunt"}'
    )
    files = packed(folder)
    assert set(files) == {"README.txt", "facts.json", "diagnosis.txt", "log.txt"}
    assert {name: [s for s in secrets if s in content] for name, content in files.items()} == {
        name: [] for name in files
    }
    assert "L40S" in files["facts.json"]
    assert "Tried to allocate 1.96 GiB" in files["log.txt"]


def test_a_traceback_stays_without_its_values():
    log = """Traceback (most recent call last):
  File "/home/dorothea/lib/python3.12/site-packages/vllm/v1/worker/gpu_worker.py", line 176, in init_device
    self.model_runner.profile_run(note="pelicans here")
  File "/home/dorothea/app/greenhouse.py", line 9, in feed_pelicans
    feed("pelicans")
ValueError: pelicans"""
    assert allow_log(log).text.split("\n") == [
        "Traceback (most recent call last):",
        '  File "…/site-packages/vllm/v1/worker/gpu_worker.py", line 176, in init_device',
        '    self.model_runner.profile_run(note="[text of 13 characters]")',
        '  File "…", line 9, in [text of 13 characters]',
        '    [text of 14 characters]")',
        "ValueError: [text of 8 characters]",
    ]


def test_it_says_how_much_is_known(tmp_path, capsys):
    folder = tmp_path / "evidence"
    folder.mkdir()
    (folder / "log.txt").write_text(OOM + "my own words\nINFO 11-22 10:00:00 [core.py:3] nobody knows these\n")
    packed(folder)
    assert "log.txt: 1 of 3 lines are known messages" in " ".join(capsys.readouterr().err.split())


def test_raw_keeps_words_and_says_so(tmp_path, capsys):
    folder = tmp_path / "evidence"
    folder.mkdir()
    (folder / "log.txt").write_text(OOM + "my own words\nvllm serve m --api-key fakeKey123\n")
    files = packed(folder, "--raw")
    assert "my own words" in files["log.txt"]
    assert not any("fakeKey123" in content for content in files.values())
    said = " ".join(capsys.readouterr().err.split())
    assert "raw: what users wrote, and keys of unknown forms, may be inside" in said


def test_diagnosing_says_no_secret(tmp_path, capsys):
    for line in (*planted.contexts("keys")[::7], *planted.contexts("prompts")[::7], *planted.contexts("unnamed")[::3]):
        case = planted.Planted(line)
        (tmp_path / "log.txt").write_text(case.text + "\n" if "Error" in line else OOM + case.text + "\n")
        for more in ([], ["--json"]):
            cli.main(["diagnose", "--evidence", str(tmp_path), *more])
            assert case.left_in(capsys.readouterr().out) == [], line


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00broken"])
def test_what_is_no_capture_is_said_in_one_line(tmp_path, content):
    path = tmp_path / "x.tar.gz"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="no capture"):
        capture.read(path)


def test_a_report_quotes_no_secret(tmp_path, capsys):
    """host_oom quotes the launch line that asks for too much."""
    (tmp_path / "launch.txt").write_text("vllm serve m --api-key s3cr3tvalue -tp 4  # LMCache max_local_cpu_size 200")
    (tmp_path / "context.json").write_text('{"gpus": "4x L40S, 768 GB RAM"}')
    (tmp_path / "log.txt").write_text("INFO nothing\n")
    cli.main(["diagnose", "--evidence", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "host_oom" in printed
    assert "s3cr3t" not in printed
