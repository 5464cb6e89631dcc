"""The best plan for the cards and the workload: every split that is allowed, then the changes that make it fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from unfrag.errors import UsageError
from unfrag.plan.cards import Card
from unfrag.plan.estimate import Choice, Estimate, estimate
from unfrag.plan.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unfrag.plan.architecture import Architecture

_SIZES = (1, 2, 4, 8, 16, 32)
_MOST_CARDS = 64
_SIMPLER = 0.9  # a plan that holds this much of the best one's requests and needs fewer flags is preferred
_EFFICIENCY = 0.6  # of a card's memory bandwidth that decoding kernels reach


class Ask(msgspec.Struct, frozen=True):
    """What is given. ``free``: may the split be chosen? ``fp8_kv``: may keys and values be quantised?"""

    card: Card
    count: int
    version: tuple[int, ...]
    free: bool
    fp8_kv: bool
    workload: Workload


class Plan(msgspec.Struct, frozen=True):
    """An estimate and what it means for the workload, over all replicas.

    Attributes:
        tokens: KV tokens of all replicas together.
        requests: of the workload at a time, or of full length where no workload was given.
        tpot_floor: seconds a token takes at least, by the bytes that a step reads; None where it is not known.
        enough: does it hold the concurrency that was asked for, within the limit? None when nothing was asked.
        why: what speaks against it, in a few words.
    """

    estimate: Estimate
    replicas: int
    tokens: int | None
    requests: float | None
    tpot_floor: float | None
    enough: bool | None
    why: str = ""


def for_workload(choice: Choice, load: Workload) -> Choice:
    """The choice with the context and the seats that the workload needs, where they were left open."""
    length, seats = choice.max_model_len, choice.max_num_seqs
    if length is None and load.longest:
        length = -(-load.longest // 1024) * 1024
    if seats is None and load.concurrency:
        seats = load.concurrency
    return msgspec.structs.replace(choice, max_model_len=length, max_num_seqs=seats)


def best(a: Architecture, choice: Choice, ask: Ask) -> list[Plan]:
    """Every split that is allowed, the best first.

    Raises:
        UsageError: none is.
    """
    found: list[Plan] = []
    refused: UsageError | None = None
    for tried in _choices(a, choice, ask):
        try:
            found.append(weigh(a, estimate(a, ask.card, ask.count, tried, ask.version), ask))
        except UsageError as fault:
            refused = fault
    if refused is not None and not found:
        raise refused
    most = max((plan.requests or 0.0 for plan in found if plan.estimate.fits), default=0.0)
    found.sort(key=lambda plan: _rank(plan, most))
    return found


def _rank(plan: Plan, most: float) -> tuple[object, ...]:
    """Fits; is enough; holds nearly the most; is simple; holds more; is nearer to fitting."""
    chosen = plan.estimate.choice
    exotic = (chosen.dcp > 1) + (chosen.dp > 1) + 2 * (chosen.kv_dtype is not None)
    near = (plan.requests or 0.0) >= _SIMPLER * most
    fits = {True: 0, None: 1, False: 2}[plan.estimate.fits]
    room = plan.estimate.per_rank.kv_cache_bytes or 0
    return fits, plan.enough is not True, not near, exotic if near else 0, -(plan.requests or 0.0), -room


def weigh(a: Architecture, found: Estimate, ask: Ask) -> Plan:
    """What an estimate means for the workload."""
    chosen, load = found.choice, ask.workload
    replicas = max(1, ask.count // (chosen.tp * chosen.pp))
    tokens = None if found.kv_tokens is None else found.kv_tokens * replicas
    requests = None if found.max_concurrency is None else found.max_concurrency * replicas
    if load.request_tokens and tokens is not None:
        requests = tokens / load.request_tokens
    floor = _floor(found, ask, requests)
    enough, why = None, ""
    if load.concurrency is not None and requests is not None:
        enough = requests >= load.concurrency
        why = "" if enough else f"holds {requests:.1f} of the {load.concurrency} requests asked for"
    if load.tpot_limit is not None and floor is not None and floor > load.tpot_limit:
        enough = False
        why = f"a token takes at least {floor * 1000:.1f} ms, {load.tpot_limit * 1000:.1f} ms are asked for"
    return Plan(found, replicas, tokens, requests, floor, enough, why)


def _floor(found: Estimate, ask: Ask, requests: float | None) -> float | None:
    """Seconds of one decoding step at least: weights and the KV of the running requests are read once.

    Of a mixture of experts all experts count, which a large batch comes near. Exchanges between cards come on top.
    """
    rank, load = found.per_rank, ask.workload
    if ask.card.bandwidth_gbs is None or rank.weights_bytes is None or rank.kv_bytes_per_token is None:
        return None
    at_once = min(load.concurrency or requests or 1, requests or 1) / max(1, ask.count // found.choice.tp)
    length = (load.prompt or 0) + (load.output or 0) // 2
    read = rank.weights_bytes + max(1.0, at_once) * length * rank.kv_bytes_per_token
    return read / (ask.card.bandwidth_gbs * 1e9 * _EFFICIENCY)


def _choices(a: Architecture, choice: Choice, ask: Ask) -> Iterator[Choice]:
    replace = msgspec.structs.replace
    splits = list(_splits(a, ask.count)) if ask.free else [(choice.tp, choice.dcp, choice.dp)]
    dtypes = [choice.kv_dtype, "fp8"] if ask.fp8_kv and choice.kv_dtype is None else [choice.kv_dtype]
    for tp, dcp, dp in splits:
        for kv_dtype in dtypes:
            expert = choice.expert_parallel or (dp > 1 and a.experts > 0)
            yield replace(choice, tp=tp, dcp=dcp, dp=dp, kv_dtype=kv_dtype, expert_parallel=expert)


def _splits(a: Architecture, count: int) -> Iterator[tuple[int, int, int]]:
    """(tensor, decode context, data) parallel over all cards.

    Decode context parallel only where KV would be replicated; data-parallel attention only for MLA with experts, whose
    other way out it is (a dense model's replicas are servers of their own).
    """
    for tp in (t for t in _SIZES if t <= count):
        shared = tp if a.is_mla else tp // a.kv_heads if a.kv_heads and tp > a.kv_heads else 1
        for dcp in (d for d in _SIZES if d <= shared and tp % d == 0):
            yield tp, dcp, 1
        if a.is_mla and a.experts and tp < count and count % tp == 0:
            yield tp, 1, count // tp


def cards_needed(a: Architecture, choice: Choice, ask: Ask) -> int | None:
    """How many of the card, doubling, some split fits on; None where 64 do not do, or the split is fixed."""
    if not ask.free:
        return None
    count = ask.count * 2
    while count <= _MOST_CARDS:
        asked = msgspec.structs.replace(ask, count=count)
        try:
            if best(a, msgspec.structs.replace(choice, tp=count), asked)[0].estimate.fits:
                return count
        except UsageError:
            pass
        count *= 2
    return None


def mend(a: Architecture, plan: Plan, ask: Ask) -> tuple[Plan, tuple[str, ...]] | None:
    """The least changes of what was left open that make it fit, with what each is; None when nothing does.

    In the order of what it costs the users: seats, the share of the card, the step, the context.
    """
    replace = msgspec.structs.replace
    chosen, changes = plan.estimate.choice, []
    wanted = max(4, ask.workload.concurrency or 32)
    steps: list[tuple[str, Choice]] = []
    if chosen.max_num_seqs is None:
        chosen = replace(chosen, max_num_seqs=wanted)
        steps.append((f"--max-num-seqs {wanted}", chosen))
    if chosen.utilization is None:
        chosen = replace(chosen, utilization=0.95)
        steps.append(("--gpu-memory-utilization 0.95", chosen))
    if chosen.step_tokens is None:
        chosen = replace(chosen, step_tokens=2048)
        steps.append(("--max-num-batched-tokens 2048", chosen))
    for what, tried in steps:
        changes.append(what)
        better = weigh(a, estimate(a, ask.card, ask.count, tried, ask.version), ask)
        if better.estimate.fits:
            return better, tuple(changes)
    if chosen.max_model_len is None and a.longest:
        length = a.longest
        while length > 2048:
            length //= 2
            tried = replace(chosen, max_model_len=length)
            better = weigh(a, estimate(a, ask.card, ask.count, tried, ask.version), ask)
            if better.estimate.fits:
                return better, (*changes, f"--max-model-len {length}")
    return None
