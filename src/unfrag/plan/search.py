"""The best plan for the cards and the workload: every split that is allowed, then the changes that make it fit."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import msgspec

from unfrag.errors import UsageError
from unfrag.plan import budget, weights
from unfrag.plan.cards import Card
from unfrag.plan.estimate import Choice, Estimate, estimate
from unfrag.plan.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unfrag.plan.architecture import Architecture

_SIZES = (1, 2, 4, 8, 16, 32)
_COUNTS: tuple[int, ...] = (*range(1, 17), *range(24, 65, 8))
_SIMPLER = 0.9  # a plan that holds this much of the best one's requests and needs fewer flags is preferred
_MOST_SEQS = 1024
_SMALL_STEP = 2048  # tokens
_SHORT = 2048  # tokens; a context below it is of no use


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
        exact: bytes of weights that something else than the formula knows.
    """

    estimate: Estimate
    replicas: int
    tokens: int | None
    requests: float | None
    tpot_floor: float | None
    enough: bool | None
    why: str = ""
    exact: int | None = None

    @property
    def cards(self) -> int:
        """Of one server."""
        return self.estimate.choice.tp * self.estimate.choice.pp * self.estimate.choice.dp

    @property
    def servers(self) -> int:
        """Equal ones that share the cards; the data-parallel replicas of one are not servers of their own."""
        return max(1, self.replicas // self.estimate.choice.dp)


def for_workload(choice: Choice, load: Workload, a: Architecture) -> Choice:
    """The choice with the context that the workload needs, where that was left open.

    Raises:
        UsageError: its longest request is longer than the model's context, or than the one that was given.
    """
    longest = max(load.longest or 0, (load.prompt or 0) + (load.output or 0))
    limit = choice.max_model_len or a.longest
    if limit and longest > limit:
        raise UsageError(
            f"a request of {longest:,} tokens does not fit into a context of {limit:,}: it would be refused"
        )
    if choice.max_model_len is not None or not load.longest:
        return choice
    length = -(-longest // 1024) * 1024
    return msgspec.structs.replace(choice, max_model_len=min(length, a.longest or length))


def with_max_num_seqs(a: Architecture, plan: Plan, ask: Ask) -> Plan:
    """The plan with a `max_num_seqs` of what its pool holds of the workload, and not more than was asked for.

    What they take (the sampler's buffers) is counted again, so the plan is the one that its flags start.
    """
    load = ask.workload
    if plan.estimate.choice.max_num_seqs or not load.request_tokens or not plan.requests or not plan.estimate.fits:
        return plan
    for _ in range(3):
        held = int((plan.requests or 0) / plan.replicas)
        max_num_seqs = max(1, min(held, _MOST_SEQS, load.concurrency or held))
        if max_num_seqs == plan.estimate.choice.max_num_seqs:
            break
        chosen = msgspec.structs.replace(plan.estimate.choice, max_num_seqs=max_num_seqs)
        plan = weigh(a, estimate(a, ask.card, ask.count, chosen, ask.version, plan.exact), ask, plan.exact)
    return plan


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
    exotic = (chosen.dcp > 1) + (chosen.dp > 1) + (chosen.pp > 1) + 2 * (chosen.kv_dtype is not None)
    near = (plan.requests or 0.0) >= _SIMPLER * most
    fits = {True: 0, None: 1, False: 2}[plan.estimate.fits]
    room = plan.estimate.per_rank.kv_cache_bytes or 0
    return (
        fits,
        plan.enough is not True,
        not near,
        (exotic, chosen.tp) if near else (0, 0),
        -(plan.requests or 0.0),
        -room,
    )


def weigh(a: Architecture, found: Estimate, ask: Ask, exact: int | None = None) -> Plan:
    """What an estimate means for the workload."""
    chosen, load = found.choice, ask.workload
    replicas = max(1, ask.count // (chosen.tp * chosen.pp))
    tokens = None if found.kv_tokens is None else found.kv_tokens * replicas
    requests = None if found.max_concurrency is None else found.max_concurrency * replicas
    if load.request_tokens and tokens is not None:
        requests = tokens / load.request_tokens
    floor = _floor(a, found, ask, requests)
    enough, why = None, ""
    if load.concurrency is not None and requests is not None:
        enough = requests >= load.concurrency
        why = "" if enough else f"holds {requests:.1f} of the {load.concurrency} requests asked for"
    if load.tpot_limit is not None and floor is not None and floor > load.tpot_limit:
        enough = False
        why = f"a token takes at least {floor * 1000:.1f} ms, {load.tpot_limit * 1000:.1f} ms are asked for"
    return Plan(found, replicas, tokens, requests, floor, enough, why, exact)


def _floor(a: Architecture, found: Estimate, ask: Ask, requests: float | None) -> float | None:
    """Seconds of one decoding step at least: the weights that it touches and the KV of its requests are read once.

    Of E experts, k a token, a batch of n touches ``1 - (1 - k/E)^n`` of them when routing is even. Bandwidth counts as
    reached in full; exchanges between cards come on top.
    """
    rank, load = found.per_rank, ask.workload
    if ask.card.bandwidth_gbs is None or rank.weights_bytes is None or rank.kv_bytes_per_token is None:
        return None
    at_once = max(1.0, min(load.concurrency or requests or 1, requests or 1) / max(1, ask.count // found.choice.tp))
    length = (load.prompt or 0) + (load.output or 0) // 2
    experts = weights.expert_bytes(a, found.choice)
    touched = 1 - (1 - min(1.0, a.experts_per_token / a.experts)) ** at_once if a.experts else 1.0
    read = rank.weights_bytes - experts * (1 - touched) + at_once * length * rank.kv_bytes_per_token
    return read / (ask.card.bandwidth_gbs * 1e9)


def _choices(a: Architecture, choice: Choice, ask: Ask) -> Iterator[Choice]:
    replace = msgspec.structs.replace
    splits = list(_splits(a, ask.count)) if ask.free else [(choice.tp, choice.dcp, choice.dp, choice.pp)]
    dtypes = [choice.kv_dtype, "fp8"] if ask.fp8_kv and choice.kv_dtype is None else [choice.kv_dtype]
    for tp, dcp, dp, pp in splits:
        for kv_dtype in dtypes:
            expert = choice.expert_parallel or (dp > 1 and a.experts > 0)
            yield replace(choice, tp=tp, dcp=dcp, dp=dp, pp=pp, kv_dtype=kv_dtype, expert_parallel=expert)


def _splits(a: Architecture, count: int) -> Iterator[tuple[int, int, int, int]]:
    """(tensor, decode context, data, pipeline) parallel over all cards.

    Decode context parallel only where KV would be replicated; data-parallel attention only for MLA with experts, whose
    other way out it is (a dense model's replicas are servers of their own); stages where tensor parallel cannot take
    all cards.
    """
    for tp in (t for t in _SIZES if t <= count):
        shared = tp if a.is_mla else tp // a.kv_heads if a.kv_heads and tp > a.kv_heads else 1
        for dcp in (d for d in _SIZES if d <= shared and tp % d == 0):
            yield tp, dcp, 1, 1
        if tp < count and count % tp == 0:
            yield tp, 1, 1, count // tp
            if a.is_mla and a.experts:
                yield tp, 1, count // tp, 1


def cards_needed(a: Architecture, choice: Choice, ask: Ask) -> int | None:
    """The least count of the card on which some split fits and is enough; None where 64 are not, or it is fixed."""
    if not ask.free:
        return None
    for count in filter(lambda c: c > ask.count, _COUNTS):
        asked = msgspec.structs.replace(ask, count=count)
        try:
            found = with_max_num_seqs(
                a, best(a, msgspec.structs.replace(choice, tp=1, dp=1, dcp=1, pp=1), asked)[0], asked
            )
        except UsageError:
            continue
        if found.estimate.fits and found.enough is not False:
            return count
    return None


def mend(a: Architecture, plan: Plan, ask: Ask) -> tuple[Plan, tuple[str, ...]] | None:
    """The least changes of what was left open that make it fit, with what each is; None when nothing does.

    Tried in the order of what they cost the users: `max_num_seqs`, the share of the card, the step, the context; then
    whatever turns out not to be needed is taken back.
    """
    asked = plan.estimate.choice
    max_num_seqs = max(4, min(ask.workload.concurrency or 32, 256))
    steps: list[tuple[str, dict[str, object]]] = []
    if asked.max_num_seqs is None:
        steps.append((f"--max-num-seqs {max_num_seqs}", {"max_num_seqs": max_num_seqs}))
    if asked.utilization is None:
        steps.append(("--gpu-memory-utilization 0.95", {"utilization": 0.95}))
    if asked.step_tokens is None and budget.default_step(ask.card) > _SMALL_STEP >= (asked.max_num_seqs or 0):
        steps.append((f"--max-num-batched-tokens {_SMALL_STEP}", {"step_tokens": _SMALL_STEP}))
    if asked.max_model_len is None and a.longest:
        halves = itertools.takewhile(lambda n: n >= _SHORT, (a.longest >> k for k in range(1, 16)))
        steps += [(f"--max-model-len {length}", {"max_model_len": length}) for length in halves]

    def tried(chosen: list[tuple[str, dict[str, object]]]) -> Plan:
        fields = {name: value for _, change in chosen for name, value in change.items()}
        again = estimate(a, ask.card, ask.count, msgspec.structs.replace(asked, **fields), ask.version, plan.exact)
        return weigh(a, again, ask, plan.exact)

    used: list[tuple[str, dict[str, object]]] = []
    for step in steps:
        used = [kept for kept in used if kept[1].keys() != step[1].keys()] + [step]
        if tried(used).estimate.fits:
            break
    else:
        return None
    for step in list(used):
        fewer = [kept for kept in used if kept is not step]
        if fewer and tried(fewer).estimate.fits:
            used = fewer
    return tried(used), tuple(what for what, _ in used)
