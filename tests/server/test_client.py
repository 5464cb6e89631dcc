import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unfrag.facts.memory_stats import Pool
from unfrag.facts.snapshot import Metrics
from unfrag.facts.values import Unknown
from unfrag.server import health
from unfrag.server import metrics as metrics_text
from unfrag.server.client import Server

ARTICLE = b'{"gpu_cache_usage": 0.68, "free_blocks": 142, "largest_free_block": 128, "block_size_bytes": 16384}'


def test_the_articles_four_keys_alone_are_read():
    for body in (ARTICLE, b'{"status": "ok", "memory_stats": ' + ARTICLE + b"}"):
        pool = health.parse(body)
        assert isinstance(pool, Pool)
        assert (pool.free_blocks, pool.largest_free_block, pool.total_blocks) == (142, 128, None)
        assert pool.capacity_tokens is None


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 200, "plugin is not enabled"),
        (b"{}", 200, "plugin is not enabled"),
        (b"", 503, "the engine is dead"),
        (b'{"status": "dead", "memory_stats": null}', 503, "the engine is dead"),
        (b"<html>", 502, "answers 502"),
        (b'{"free_blocks": 5, "largest_free_block": 9, "gpu_cache_usage": 0.5}', 200, "contradicts itself"),
        (b'{"free_blocks": -1, "largest_free_block": 0, "gpu_cache_usage": 7}', 200, "not as expected"),
        (b"[1]", 200, "not answer with a JSON object"),
        (b'{"memory_stats": {"free_blocks": "many"}}', 200, "not as expected"),
        (b"\xff\x00", 200, "not as expected"),
        (b'{"status": "ok", "memory_stats": null, "unknown": "no such method"}', 200, "no such method"),
    ],
)
def test_what_is_missing_is_unknown_with_its_reason(body, status, said):
    pool = health.parse(body, status)
    assert isinstance(pool, Unknown)
    assert said in pool.why


def test_metrics_are_summed_over_engines_and_usage_is_the_fullest():
    metrics = metrics_text.parse(
        "# TYPE vllm:num_requests_running gauge\n"
        'vllm:num_requests_running{engine="0"} 3\nvllm:num_requests_running{engine="1"} 4\n'
        "# TYPE vllm:kv_cache_usage_perc gauge\n"
        'vllm:kv_cache_usage_perc{engine="0"} 0.2\nvllm:kv_cache_usage_perc{engine="1"} 0.9\n'
        "# TYPE vllm:num_preemptions_total counter\n"
        'vllm:num_preemptions_total{engine="0"} 5\n'
        "# TYPE vllm:num_preemptions_created gauge\n"
        'vllm:num_preemptions_created{engine="0"} 1.7e9\n'
        "# TYPE vllm:cache_config_info gauge\n"
        'vllm:cache_config_info{block_size="32",cache_dtype="auto"} 1\n'
    )
    assert isinstance(metrics, Metrics)
    assert (metrics.running, metrics.kv_cache_usage, metrics.preemptions) == (7, 0.9, 5)
    assert metrics.waiting is None
    assert metrics.cache_config["block_size"] == "32"


def test_metrics_of_something_else_are_unknown():
    assert isinstance(metrics_text.parse("go_goroutines 5\n"), Unknown)
    assert isinstance(metrics_text.parse("{{{"), Unknown)


def test_a_dead_port_is_unknown_everywhere():
    with Server("http://127.0.0.1:9") as server:
        facts = [server.pool(), server.metrics(), server.version(), server.engine(), *server.model()]
    assert all(isinstance(fact, Unknown) and "connect" in fact.why for fact in facts)


@given(st.binary(max_size=200), st.sampled_from([200, 404, 503]))
def test_no_body_breaks_it(body, status):
    health.parse(body, status)
    metrics_text.parse(body.decode("utf-8", "replace"))


@pytest.mark.parametrize("owner", ["vllm", "sglang", "lmdeploy"])
def test_a_server_says_who_it_is_by_its_list_of_models(owner):
    body = {"object": "list", "data": [{"id": "m", "object": "model", "owned_by": owner}]}
    with an_answer({"/v1/models": body}) as url, Server(url) as server:
        assert server.engine() == owner


@contextlib.contextmanager
def an_answer(bodies):
    """An HTTP server that answers these paths with JSON."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = json.dumps(bodies.get(self.path, {})).encode()
            self.send_response(200 if self.path in bodies else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
