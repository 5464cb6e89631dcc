"""Routes on a real engine: what is served changes no token, what is wrong would, and what ought to be forgotten is."""

from __future__ import annotations

import json
import logging
import random

import pytest
import torch
from safetensors.torch import save_file
from vllm import SamplingParams
from vllm.lora.request import LoRARequest
from vllm.model_executor.layers.fused_moe.config import FusedMoEConfig

from tests.engine.in_process import an_engine, engine_core
from unfrag.engine.experts import worker
from unfrag.engine.experts.install import cache_of
from unfrag.engine.vllm import moe
from unfrag.rig.model import ensure_model

BLOCKS = 70  # of 32 tokens: two prompts of these at most
ON = ("--enable-expert-cache",)
LAYERS = 3
NO_PREFIX_CACHE = {"enable_prefix_caching": False}


def prompts(number=100, prefixes=10, length=1200, seed=3):
    rng = random.Random(seed)
    shared = [[rng.randrange(10, 8000) for _ in range(length)] for _ in range(prefixes)]
    return [shared[i % prefixes] + [rng.randrange(10, 8000) for _ in range(16)] for i in range(number)]


def answer(llm, tokens, **more):
    params = SamplingParams(max_tokens=4, temperature=0, logprobs=5, ignore_eos=True)
    output = llm.generate({"prompt_token_ids": tokens}, params, use_tqdm=False, **more)[0]
    return list(output.outputs[0].token_ids), [
        {token: entry.logprob for token, entry in step.items()} for step in output.outputs[0].logprobs
    ]


def replay(llm):
    """The router's half of the first rank, where it is in this process."""
    return engine_core(llm).model_executor.driver_worker.unfrag_routes


def shares(llm):
    """(served, all) prompt tokens of each answer, in order."""
    return [tuple(share) for share in cache_of(engine_core(llm)).index._shares.values()]


CHUNKED = {**NO_PREFIX_CACHE, "max_num_batched_tokens": 256}


@pytest.mark.parametrize(
    ("number", "more"),
    [(12, {}), pytest.param(100, {}, marks=pytest.mark.slow), pytest.param(30, CHUNKED, marks=pytest.mark.slow)],
)
def test_requests_over_ten_prefixes_are_the_same_and_hardly_routed(number, more):
    asked = prompts(number)
    with an_engine(BLOCKS, 4, **more) as llm:
        plain = [answer(llm, tokens) for tokens in asked]
        assert cache_of(engine_core(llm)) is None
    with an_engine(BLOCKS, 4, own=ON, **more) as llm:
        first = [answer(llm, tokens) for tokens in asked[:10]]
        routers = replay(llm)
        before = routers.computed_rows
        rest = [answer(llm, tokens) for tokens in asked[10:]]
        counts = cache_of(engine_core(llm)).counts()
    assert first + rest == plain
    # Each computes its 1,216 prompt tokens again, since the pool keeps no prefix, and 3 of its answer.
    repeated = shares(llm)[10:]
    assert all(asked == 1216 for _, asked in repeated)
    assert all(served / asked >= 0.92 for served, asked in repeated)
    routed = routers.computed_rows - before - 3 * len(rest)
    assert routed <= 0.1 * 1216 * len(rest)
    assert (counts["off"], counts["flips"]) == (None, 0)
    if "max_num_batched_tokens" in more:  # whole chunks are known: their gates are not asked either
        assert routers.gates_skipped >= 4 * LAYERS * len(rest)


def test_the_test_sees_routes_that_are_wrong():
    asked = prompts(6, prefixes=3)
    with an_engine(BLOCKS, 4, own=ON) as llm:
        plain = [answer(llm, tokens) for tokens in asked[:3]]
        store = replay(llm).store
        store.ids[:] = (store.ids + 7) % 64
        again = [answer(llm, tokens) for tokens in asked[:3]]
    assert plain != again


class WatchedServer:
    """Every choice of experts as the routers' own hook sees it, by request and position; flips among them."""

    def __init__(self, llm):
        self._runner = engine_core(llm).model_executor.driver_worker.worker.model_runner
        self._choices = {}
        self.compared = self.flips = 0
        for number, layer in enumerate(moe.layers(engine_core(llm).model_executor.driver_worker.worker)):
            layer.router.set_capture_fn(lambda ids, number=number: self._see(number, ids))

    def _see(self, layer, ids):
        batch, starts = self._runner.input_batch, self._runner.query_start_loc.np
        for i, request_id in enumerate(batch.req_ids):
            computed = int(batch.num_computed_tokens_cpu[i])
            for row in range(int(starts[i]), int(starts[i + 1])):
                key = (request_id, computed + row - int(starts[i]), layer)
                chosen = frozenset(ids[row].tolist())
                if key in self._choices:
                    self.compared += 1
                    self.flips += self._choices[key] != chosen
                self._choices.setdefault(key, chosen)


def crowd(llm, number=24):
    """More than the pool holds, so that requests are preempted and computed again in other batches."""
    rng = random.Random(8)
    engine = llm.llm_engine
    for i in range(number):
        tokens = [rng.randrange(10, 8000) for _ in range(rng.randrange(60, 200))]
        engine.add_request(
            str(i), {"prompt_token_ids": tokens}, SamplingParams(max_tokens=160, temperature=0, ignore_eos=True)
        )
    while engine.has_unfinished_requests():
        engine.step()


def test_a_preempted_request_keeps_every_expert():
    with an_engine(BLOCKS, 16, own=ON, **NO_PREFIX_CACHE) as llm:
        watched = WatchedServer(llm)
        crowd(llm)
    assert watched.compared > 1000
    assert watched.flips == 0


def test_without_the_cache_its_experts_flip_and_observing_counts_them():
    with an_engine(BLOCKS, 16, own=("--enable-expert-cache=observe",), **NO_PREFIX_CACHE) as llm:
        watched = WatchedServer(llm)
        crowd(llm)
        counts = cache_of(engine_core(llm)).counts()
    assert watched.compared > 1000
    assert watched.flips > 0, "then the test above shows nothing"
    assert counts["served_rows"] == 0
    assert counts["hits"] == counts["checked_rows"] == watched.compared / LAYERS
    assert 0 < counts["flips"] <= watched.flips


def test_verifying_serves_most_and_corrects_what_it_looks_at():
    asked = prompts(6, prefixes=3)
    with an_engine(BLOCKS, 4, own=("--enable-expert-cache=verify",), **NO_PREFIX_CACHE) as llm:
        plain = [answer(llm, tokens) for tokens in asked[:3]]
        assert [answer(llm, tokens) for tokens in asked[:3]] == plain
        counts = cache_of(engine_core(llm)).counts()
        assert counts["flips"] == 0
        assert counts["served_rows"] == pytest.approx(7 / 8 * counts["hits"], rel=0.01)
        store = replay(llm).store
        poisoned = store.ids[:] = (store.ids + 7) % 64
        answer(llm, asked[0])
        counts = replay(llm)
        counts.settle()
        assert counts.flips >= 152 * LAYERS  # an eighth of 1,216 tokens, and every one of them is wrong
        assert (store.ids != poisoned).any(axis=1).sum() >= 152
        assert shares(llm)[-1][0] == pytest.approx(7 / 8 * 1216, rel=0.01)


def test_new_weights_have_no_routes():
    asked = prompts(2, prefixes=1)
    with an_engine(BLOCKS, 4, own=ON, **NO_PREFIX_CACHE) as llm:
        core = engine_core(llm)
        for change in (
            core.reset_prefix_cache,
            lambda: core.set_weight_version("2"),
            lambda: core.collective_rpc("reload_weights"),
            lambda: core.collective_rpc(lambda worker: None),
        ):
            answer(llm, asked[0])
            assert shares(llm)[-1] == (0, 1216)
            answer(llm, asked[1])
            assert shares(llm)[-1] == (1184, 1216)
            core.compute_weight_checksums()  # only looks
            answer(llm, asked[1])
            assert shares(llm)[-1] == (1216, 1216)
            change()
        answer(llm, asked[0])
        assert shares(llm)[-1] == (0, 1216)


def test_a_restart_serves_what_the_file_kept_and_nothing_that_was_changed_in_it(tmp_path, said):
    asked, file = prompts(3, prefixes=3), tmp_path / "routes"
    own = (*ON, "--expert-cache-file", str(file), "--expert-cache-bytes", "2MiB")
    with an_engine(BLOCKS, 4, own=own, **NO_PREFIX_CACHE) as llm:
        plain = [answer(llm, tokens) for tokens in asked]
        assert shares(llm) == [(0, 1216)] * 3
    with an_engine(BLOCKS, 4, own=own, **NO_PREFIX_CACHE) as llm:
        assert [answer(llm, tokens) for tokens in asked] == plain
        assert shares(llm) == [(1216, 1216)] * 3
        slots = list(replay(llm).store._kept)
        record = (file.stat().st_size - 4096) // replay(llm).store.slots
    with file.open("r+b") as content:
        for slot in slots[:10]:  # another expert for the last token of each of ten blocks
            content.seek(4096 + (slot + 1) * record - 1)
            was = content.read(1)[0]
            content.seek(-1, 1)
            content.write(bytes([was ^ 1]))
    with an_engine(BLOCKS, 4, own=own, **NO_PREFIX_CACHE) as llm:
        assert [answer(llm, tokens) for tokens in asked] == plain
        assert sum(all_ - served for served, all_ in shares(llm)) == 10 * 32
        assert sum("10 damaged blocks" in line for line in said) == 1
    with an_engine(BLOCKS, 4, own=own, **NO_PREFIX_CACHE) as llm:  # after new weights its name for them holds no more
        engine_core(llm).reset_prefix_cache()
        answer(llm, prompts(1, seed=9)[0])
    with an_engine(BLOCKS, 4, own=own, **NO_PREFIX_CACHE) as llm:
        answer(llm, asked[0])
        answer(llm, prompts(1, seed=9)[0])
        assert shares(llm) == [(0, 1216), (0, 1216)]
    before = file.read_bytes()
    with an_engine(BLOCKS, 4, own=own, **NO_PREFIX_CACHE, load_format="dummy") as llm:
        answer(llm, asked[0])
        assert shares(llm) == [(0, 1216)]
        assert sum("another model" in line for line in said) == 1
    assert file.read_bytes() == before


@pytest.fixture
def said():
    """What the plugin logs. vLLM configures logging anew with each engine and drops handlers, but no filters."""
    lines = []

    def keep(record):
        lines.append(record.getMessage())
        return True

    logger = logging.getLogger("vllm.unfrag")
    logger.addFilter(keep)
    yield lines
    logger.removeFilter(keep)


def adapter(path, seed):
    """A LoRA adapter for the attention of the rig's model."""
    config = json.loads((ensure_model() / "config.json").read_text())
    generator = torch.Generator().manual_seed(seed)
    rows, columns = config["hidden_size"], config["num_attention_heads"] * config["v_head_dim"]
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        name = f"base_model.model.model.layers.{layer}.self_attn.o_proj"
        tensors[f"{name}.lora_A.weight"] = torch.randn(8, columns, generator=generator) * 0.2
        tensors[f"{name}.lora_B.weight"] = torch.randn(rows, 8, generator=generator) * 0.2
    path.mkdir(exist_ok=True)
    save_file(tensors, path / "adapter_model.safetensors")
    (path / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["o_proj"]})
    )


def test_an_adapters_routes_are_its_own(tmp_path, monkeypatch):
    """vLLM takes a kernel that a CPU has not as soon as adapters are on, though these leave the experts alone."""
    made = FusedMoEConfig.__post_init__
    monkeypatch.setattr(
        FusedMoEConfig, "__post_init__", lambda self: (setattr(self, "is_lora_enabled", False), made(self))[1]
    )
    asked, path = prompts(1)[0], tmp_path / "adapter"
    adapter(path, seed=1)
    lora = LoRARequest("support", 1, str(path))
    more = {"enable_lora": True, "max_lora_rank": 8, "lora_target_modules": ["o_proj"]}
    with an_engine(BLOCKS, 4, own=ON, **NO_PREFIX_CACHE, **more) as llm:
        base = answer(llm, asked)
        with_adapter = answer(llm, asked, lora_request=lora)
        assert with_adapter != base
        assert answer(llm, asked, lora_request=lora) == with_adapter
        assert answer(llm, asked) == base
        assert shares(llm) == [(0, 1216), (0, 1216), (1216, 1216), (1216, 1216)]
        adapter(path, seed=2)  # other weights under the same name and path
        answer(llm, asked, lora_request=lora)
        assert shares(llm)[-1] == (0, 1216)


@pytest.mark.slow
def test_two_ranks_serve_alike():
    asked = prompts(12, prefixes=4)
    with an_engine(BLOCKS, 4, ranks=2) as llm:
        plain = [answer(llm, tokens) for tokens in asked]
    with an_engine(BLOCKS, 4, ranks=2, own=ON) as llm:
        assert [answer(llm, tokens) for tokens in asked] == plain
        counts = engine_core(llm).model_executor.collective_rpc(worker.counts)
        assert all(served >= 0.92 * asked for served, asked in shares(llm)[4:])
    assert counts[0] == counts[1]
    assert counts[0]["served_rows"] > 8000


def test_a_refusal_leaves_the_engine_as_it_was():
    asked = prompts(1)
    with an_engine(BLOCKS, 4, own=(*ON, "--expert-cache-bytes", "2KiB")) as llm:
        assert cache_of(engine_core(llm)) is None
        assert answer(llm, asked[0])
