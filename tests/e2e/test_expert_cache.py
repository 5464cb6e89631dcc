"""The expert-route cache of a real server: what a caller is told, and what a restart keeps."""

from __future__ import annotations

import random

import httpx
import openai
import psutil
import pytest

from tests.waiting import until
from unfrag.rig.environment import SERVED_NAME
from unfrag.rig.server import Rig

HEADER, FIELD = "X-Expert-Cache-Hit-Rate", "expert_cache_hit_rate"
# Two prompts of these fill the pool, so that no prefix outlives eight others in it.
FLAGS = {"--max-model-len": "2048", "--block-size": "32", "--num-gpu-blocks-override": "70", "--max-num-seqs": "4"}
GREEDY = {"model": SERVED_NAME, "max_tokens": 4, "temperature": 0}


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    file = tmp_path_factory.mktemp("routes") / "routes"
    env = {"UNFRAG_EXPERT_CACHE": "on", "UNFRAG_EXPERT_CACHE_BYTES": "4MiB", "UNFRAG_EXPERT_CACHE_FILE": str(file)}
    with Rig(FLAGS, env=env) as running:
        running.wait_ready()
        yield running


@pytest.fixture
def client(rig):
    with openai.OpenAI(
        base_url=f"{rig.url}/v1", api_key="none", http_client=httpx.Client(trust_env=False), max_retries=0
    ) as client:
        yield client


def prompts(number=100, prefixes=10, seed=1):
    rng = random.Random(seed)
    shared = [[rng.randrange(10, 8000) for _ in range(1200)] for _ in range(prefixes)]
    return [shared[i % prefixes] + [rng.randrange(10, 8000) for _ in range(16)] for i in range(number)]


def text(seed, words=900):
    rng = random.Random(seed)
    return " ".join(rng.choice(("memory", "block", "expert", "router", "token", "cache")) for _ in range(words))


def experts(rig):
    (counts,) = httpx.get(f"{rig.url}/plugins/unfrag/experts", trust_env=False).raise_for_status().json()
    return counts


@pytest.mark.slow
def test_a_hundred_requests_over_ten_prefixes_hear_what_was_served(rig, client):
    rates = []
    for prompt in prompts():
        raw = client.completions.with_raw_response.create(prompt=prompt, logprobs=5, **GREEDY)
        answer = raw.parse()
        assert len(answer.choices[0].logprobs.tokens) == 4
        assert float(raw.headers[HEADER]) == answer.model_extra[FIELD]
        rates.append(answer.model_extra[FIELD])
    assert rates[:10] == [0.0] * 10
    assert min(rates[10:]) >= 0.92


def test_a_chat_hears_it_too_and_only_who_asks_for_logprobs(client):
    asked = {"messages": [{"role": "user", "content": text(1)}], **GREEDY}
    for expected in (lambda rate: rate == 0, lambda rate: rate is not None):
        raw = client.chat.completions.with_raw_response.create(logprobs=True, top_logprobs=5, **asked)
        answer = raw.parse()
        assert answer.choices[0].logprobs.content
        assert expected(answer.model_extra[FIELD])
        assert float(raw.headers[HEADER]) == answer.model_extra[FIELD]
    raw = client.chat.completions.with_raw_response.create(**asked)
    assert HEADER not in raw.headers
    assert FIELD not in raw.parse().model_extra


def test_a_stream_hears_it_in_its_last_chunk(client):
    (prompt,) = prompts(1, seed=2)
    asked = {"prompt": prompt, "logprobs": 1, "stream": True, **GREEDY}
    chunks = list(client.completions.create(stream_options={"include_usage": True}, **asked))
    assert [FIELD in (chunk.model_extra or {}) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].usage.prompt_tokens == len(prompt)
    assert len(chunks) > 3
    assert all(FIELD not in (chunk.model_extra or {}) for chunk in client.completions.create(**asked))


def test_an_answer_to_several_prompts_hears_of_all(client):
    one, other = prompts(2, prefixes=2, seed=3)
    client.completions.create(prompt=one, **GREEDY)
    for filler in prompts(3, prefixes=3, seed=4):
        client.completions.create(prompt=filler, **GREEDY)
    answer = client.completions.create(prompt=[one, other], logprobs=1, **GREEDY)
    assert len(answer.choices) == 2
    assert 0.3 < answer.model_extra[FIELD] < 0.7


def test_what_vllm_refuses_reaches_the_caller_as_it_was(rig, client):
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(prompt=[1] * 4000, logprobs=1, **GREEDY)
    assert "maximum context length" in str(refused.value) or "2048" in str(refused.value)
    deep = b'{"logprobs": 1, "a": ' + b"[" * 200_000
    for path in ("/v1/completions", "/tokenize"):
        headers = {"Content-Type": "application/json"}
        answer = httpx.post(f"{rig.url}{path}", content=deep, headers=headers, trust_env=False)
        assert answer.status_code == 400
    with pytest.raises(openai.NotFoundError):
        client.completions.create(prompt="a", logprobs=1, **{**GREEDY, "model": "another"})


def test_it_is_seen_in_metrics_and_as_json(rig, client):
    before = experts(rig)
    for prompt in prompts(2, prefixes=1, seed=5):
        client.completions.create(prompt=prompt, **GREEDY)
    counts = until(lambda: (seen := experts(rig))["computed_rows"] > before["computed_rows"] and seen)
    assert (counts["mode"], counts["off"], counts["flips"]) == ("on", None, 0)
    assert counts["hits"] > 0
    assert 0 < counts["bytes"] <= counts["limit_bytes"] == 4 << 20
    assert set(counts["balance"]) == {"1", "2", "3"}
    assert all(1 <= ratio <= 16 for ratio in counts["balance"].values())
    assert sum(expert["share"] for expert in counts["hot"]["1"]) <= 1
    assert counts["hot"]["1"][0]["share"] == pytest.approx(counts["balance"]["1"] / 64, rel=0.01)
    metrics = httpx.get(f"{rig.url}/metrics", trust_env=False, follow_redirects=True).text
    sample = next(line for line in metrics.splitlines() if line.startswith("unfrag_expert_cache_hits_total{"))
    assert float(sample.split()[-1]) >= counts["hits"]
    for name in ("misses_total", "flips_total", "evictions_total", "bytes"):
        assert f"unfrag_expert_cache_{name}" in metrics
    assert "vllm:num_requests_running" in metrics


@pytest.mark.slow
def test_a_server_that_was_killed_starts_warm(rig, client):
    """SIGKILL to every process of it, then a start."""
    (prompt,) = prompts(1, seed=6)
    client.completions.create(prompt=prompt, **GREEDY)
    held = experts(rig)["blocks"]
    server = [process for process in rig.processes() if "supervisord" not in " ".join(process.cmdline())]
    for process in server:
        process.kill()
    assert psutil.wait_procs(server, timeout=30)[1] == []
    rig.launcher.restart()
    rig.wait_ready()
    assert experts(rig)["blocks"] >= held - 1
    answer = client.completions.create(prompt=prompt, logprobs=1, **GREEDY)
    assert answer.model_extra[FIELD] >= 0.92
