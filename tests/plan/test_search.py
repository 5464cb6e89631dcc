"""The advisor: what it chooses, what it refuses, and what it says would help."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plan.test_estimate import GLM_FLASH, LLAMA_8B, plan
from unfrag import cli
from unfrag.plan import architecture, cards, limits, search
from unfrag.plan.estimate import Choice, estimate
from unfrag.plan.workload import Workload

V32 = (99,)
GLM, LLAMA = architecture.read(GLM_FLASH), architecture.read(LLAMA_8B)


def ask(card="H100", count=1, load=None, free=True, fp8=False):
    return search.Ask(cards.find(card), count, V32, free, fp8, load or Workload())


def ranked(shape, asked, **choice):
    chosen = search.for_workload(Choice(tp=asked.count, **choice), asked.workload, shape)
    best, *rest = search.best(shape, chosen, asked)
    return [search.with_max_num_seqs(shape, best, asked), *rest]


def test_of_mla_it_weighs_context_parallel_and_data_parallel_attention_against_tensor_parallel():
    tried = {(p.estimate.choice.tp, p.estimate.choice.dcp, p.estimate.choice.dp) for p in ranked(GLM, ask(count=4))}
    assert {(4, 1, 1), (4, 4, 1), (1, 1, 4), (2, 1, 2)} <= tried


def test_data_parallel_attention_keeps_attention_whole_and_divides_experts():
    tensor, data = (
        estimate(GLM, cards.find("H200"), 4, Choice(tp=tp, dp=dp), V32).per_rank.weights_bytes
        for tp, dp in ((4, 1), (1, 4))
    )
    whole = estimate(GLM, cards.find("H200"), 1, Choice(), V32).per_rank.weights_bytes
    assert tensor < data < whole / 2


def test_the_simpler_plan_wins_when_it_holds_nearly_as_much():
    """Four H200 hold GLM-4.7-Flash many times over, so what a plan needs must show in what it holds."""
    found = ranked(GLM, ask("H200", 4))
    best, rest = found[0], found[1:]
    assert all(other.requests <= best.requests / 0.9 for other in rest if other.estimate.fits)


def test_the_workload_sets_context_and_max_num_seqs():
    load = Workload(prompt=3000, output=400, longest=7000, concurrency=40)
    best = ranked(LLAMA, ask(load=load))[0]
    assert (best.estimate.choice.max_model_len, best.estimate.choice.max_num_seqs) == (7168, 40)
    assert best.enough is True
    crowded = msgspec.structs.replace(load, concurrency=100_000)
    assert "of the 100000 requests" in ranked(LLAMA, ask(load=crowded))[0].why


def test_shared_prefixes_are_held_once():
    for share, held in ((0.0, 4100), (0.9, 500)):
        best = ranked(LLAMA, ask(load=Workload(prompt=4000, output=100, shared=share)))[0]
        assert best.requests == pytest.approx(best.tokens / held)


def test_what_the_flags_start_is_what_was_promised(capsys, tmp_path):
    """`max_num_seqs` is part of the plan: put back into it, they change nothing."""
    given = ("--gpu", "H100", "--prompt-tokens", "3000", "--output-tokens", "400")
    _, found = plan(capsys, tmp_path, LLAMA_8B, *given)
    flags = {flag["flag"]: flag["value"] for flag in found["flags"]}
    max_num_seqs = int(flags["--max-num-seqs"])
    assert 0.9 * found["requests_at_once"] <= max_num_seqs <= found["requests_at_once"]
    _, again = plan(capsys, tmp_path, LLAMA_8B, *given, "--max-num-seqs", str(max_num_seqs))
    assert again["kv_tokens"] == found["kv_tokens"]


def test_more_than_fits_is_not_put_into_the_flags(capsys, tmp_path):
    given = ("--gpu", "H100", "--prompt-tokens", "3000", "--output-tokens", "400", "--concurrency", "640")
    _, found = plan(capsys, tmp_path, LLAMA_8B, *given)
    flags = {flag["flag"]: flag["value"] for flag in found["flags"]}
    assert found["enough"] is False
    assert int(flags["--max-num-seqs"]) < 200
    _, enough = plan(capsys, tmp_path, LLAMA_8B, *given, "--gpu-count", str(found["cards_needed"]))
    assert enough["enough"] is True


def test_without_a_workload_max_num_seqs_is_left_to_vllm(capsys, tmp_path):
    _, found = plan(capsys, tmp_path, LLAMA_8B, "--gpu", "H100")
    assert "--max-num-seqs" not in found["command"]


def test_stages_are_tried_where_tensor_parallel_cannot_take_all_cards():
    best = ranked(LLAMA, ask("3090", 3))[0]
    assert best.estimate.choice.pp * best.estimate.choice.tp in (1, 3)
    large = msgspec.structs.replace(LLAMA, depth=96, layers={"full": 96}, longest=8192)
    best = ranked(large, ask("3090", 3))[0]
    assert (best.estimate.choice.pp, best.estimate.fits) == (3, True)


def test_changes_that_are_not_needed_are_taken_back(capsys, tmp_path):
    _, found = plan(capsys, tmp_path, LLAMA_8B, "--gpu", "4090")
    assert found["would_fit_with"]
    for left_out in found["would_fit_with"]:
        flags = [part for change in found["would_fit_with"] if change != left_out for part in change.split()]
        assert plan(capsys, tmp_path, LLAMA_8B, "--gpu", "4090", *flags)[1]["fits"] is not True


def test_one_request_of_a_mixture_touches_few_experts():
    one, many = (
        ranked(GLM, ask("H200", load=Workload(prompt=100, output=100, concurrency=n)))[0].tpot_floor for n in (1, 500)
    )
    assert one < 4.5e9 * 2 / 4.8e12 < many


def test_a_limit_that_the_bandwidth_forbids_is_named():
    load = Workload(prompt=100, output=100, concurrency=1, tpot_limit=0.001)
    best = ranked(LLAMA, ask("L4", load=load), max_model_len=4096)[0]
    assert best.enough is False
    assert "ms are asked for" in best.why
    assert best.tpot_floor > 15e9 / 300e9


def test_what_would_make_it_fit_is_worked_out(capsys, tmp_path):
    code, found = plan(capsys, tmp_path, LLAMA_8B, "--gpu", "L4", "--max-num-seqs", "256")
    assert (code, found["fits"]) == (1, False)
    assert found["would_fit_with"][-1].startswith("--max-model-len")
    assert " ".join(found["would_fit_with"][-1:]) in found["command"]
    length = found["would_fit_with"][-1].split()[-1]
    words = [*found["would_fit_with"][:-1], f"--max-model-len {length}"]
    flags = [part for word in words for part in word.split()]
    code, again = plan(capsys, tmp_path, LLAMA_8B, "--gpu", "L4", "--max-num-seqs", "256", *flags)
    assert (code, again["fits"]) == (0, True)


def test_how_many_cards_it_takes(capsys, tmp_path):
    large = {**LLAMA_8B, "num_hidden_layers": 320, "max_position_embeddings": 8192}
    _, found = plan(capsys, tmp_path, large, "--gpu", "L40S")
    needed = found["cards_needed"]
    assert needed > 1
    code, _ = plan(capsys, tmp_path, large, "--gpu", "L40S", "--gpu-count", str(needed))
    assert code == 0
    code, _ = plan(capsys, tmp_path, large, "--gpu", "L40S", "--gpu-count", str(needed // 2), "--max-num-seqs", "8")
    assert code == 1


@pytest.mark.parametrize(
    ("shape", "card", "choice", "said"),
    [
        (GLM, "3090", Choice(kv_dtype="fp8"), "8.9"),
        (LLAMA, "T4", Choice(kv_dtype="fp8"), "FP8 KV wants"),
        (LLAMA, "T4", Choice(dtype="bfloat16"), "--dtype half"),
        (LLAMA, "P40", Choice(), "no kernels"),
        (LLAMA, "V100", Choice(quantization="fp8"), "fp8 weights want"),
        (
            architecture.read({**GLM_FLASH, "model_type": "deepseek_v32", "index_head_dim": 128}),
            "A100",
            Choice(),
            "spa",
        ),
    ],
)
def test_what_a_card_cannot_do_is_refused_with_its_reason(shape, card, choice, said):
    assert said in limits.card(shape, cards.find(card), choice)
    found = estimate(shape, cards.find(card), 1, choice, V32)
    assert (found.fits, said in found.reason) == (False, True)


def test_other_makes_are_not_judged_by_cudas_numbers():
    assert limits.card(GLM, cards.find("MI300X"), Choice(kv_dtype="fp8")) is None
    assert limits.backend(GLM, cards.find("MI300X")) is None


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--tp", "8", "--dcp", "4"), "leave --dcp away"),
        (("--tp", "16", "--dcp", "4"), "lower it"),
        (("--speculative-tokens", "2"), "MTP"),
        (("--output-tokens", "5"), "--prompt-tokens"),
        (("--tpot-limit-ms", "-1"), "above zero"),
        (("--tpot-limit-ms", "nan"), "above zero"),
        (("--kv-cache-dtype", "foo"), "fp8_e4m3"),
        (("--dtype", "foo"), "bfloat16"),
        (("--ep",), "has none"),
        (("--max-num-seqs", "64", "--max-num-batched-tokens", "32"), "max_num_seqs (64)"),
        (("--prompt-tokens", "200000"), "does not fit into a context"),
        (("--prompt-tokens", "100", "--longest-tokens", "10"), "--longest-tokens"),
        (("--instances", "4"), "--trace"),
        (("--as", "systemd", "--json"), "give one"),
        (("--bench", "/nowhere"), "No such file"),
        (("--trace", "/nowhere"), "No such file"),
    ],
)
def test_nonsense_is_one_line(capsys, tmp_path, flags, said):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA_8B))
    assert cli.main(["plan", "--config", str(path), "--gpu", "H100", "--gpu-count", "16", *flags]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_drafting_costs_a_layer_of_weights_and_of_kv():
    shape = architecture.read({**GLM_FLASH, "num_nextn_predict_layers": 1})
    plain, drafting = (
        estimate(shape, cards.find("H200"), 1, Choice(draft_tokens=tokens), V32).per_rank for tokens in (None, 1)
    )
    assert drafting.kv_bytes_per_token == plain.kv_bytes_per_token * 48 / 47
    assert drafting.weights_bytes > plain.weights_bytes + 2 * 64 * 3 * 2048 * 1536


@given(st.sampled_from(cards.known()), st.sampled_from([1, 2, 4, 8]), st.booleans(), st.booleans())
def test_every_card_gets_an_answer_and_its_picture_adds_up(card, count, mla, fp8):
    from unfrag.reports import picture

    asked = search.Ask(card, count, V32, True, fp8, Workload())
    best = ranked(GLM if mla else LLAMA, asked)[0]
    held = sum(part.bytes for part in picture.parts(best.estimate, card))
    assert held == card.memory_bytes or best.estimate.fits is not True
