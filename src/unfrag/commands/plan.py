"""Say before a card is rented whether a model fits, how much it holds, and with which flags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unfrag.commands import plan_options

if TYPE_CHECKING:
    import argparse

    from unfrag.facts.values import Unknown
    from unfrag.plan.architecture import Architecture
    from unfrag.plan.estimate import Choice
    from unfrag.plan.model import Model
    from unfrag.plan.replay import Replay
    from unfrag.plan.reserved import Reserved
    from unfrag.plan.search import Ask, Plan
    from unfrag.plan.workload import Workload

NAME = "plan"
EXAMPLES = """\
  unfrag plan --config ./GLM-4.7-Flash/config.json --gpu "RTX 4090 D" --gpu-count 4 --max-model-len 4096
  unfrag plan --config zai-org/GLM-4.7-Flash --gpu H100 --prompt-tokens 3000 --output-tokens 400 --concurrency 64
  unfrag plan --config config.json --gpu H100 --gpu-count 8 --tp 8 --kv-cache-dtype fp8 --json
  unfrag plan --config config.json --gpu-memory 48 --gpu-count 2 --as systemd
  unfrag plan --config config.json --gpu H200 --trace trace.jsonl --instances 4
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    plan_options.prepare(parser)


def run(args: argparse.Namespace) -> int:
    from unfrag.plan import architecture, cards, flags, kv, manifests, model, search
    from unfrag.reports import out, picture, print_json
    from unfrag.reports.text.plan import Sheet, printed, render, render_replay
    from unfrag.system.files import write_atomically

    plan_options.check(args)
    found = model.find(args.config)
    shape = architecture.read(found.config)
    load = _workload(args)
    ask = search.Ask(
        card=cards.named(args.gpu, args.gpu_memory),
        count=args.gpu_count,
        version=kv.version_of(args.engine_version),
        free=all(size is None for size in (args.tp, args.dcp, args.pp, args.dp)),
        fp8_kv=args.allow_kv_quantization,
        workload=load,
    )
    asked = search.for_workload(_choice(args), load, shape)
    ranked = search.best(shape, asked, ask)
    plan, backend = _asked(found, shape, args, ranked[0], ask)
    plan = search.with_max_num_seqs(shape, plan, ask)
    if args.engine_version and ask.version == kv.version_of(None):
        plan = _noted(plan, f"{args.engine_version[:60]} is no version that is understood: the newest is counted with")
    mended = search.mend(shape, plan, ask) if not plan.estimate.fits else None
    wanted = mended[0] if mended else plan
    code = 1 if plan.estimate.fits is False else 0
    chosen = flags.flags(shape, wanted, ask)
    words = flags.command(args.model or found.name, chosen)
    if args.svg:
        write_atomically(args.svg, picture.svg(wanted.estimate, ask.card, ask.count, args.model or found.name).encode())
    if args.manifest:
        warning = "" if wanted.estimate.fits else f"this may not fit: {wanted.estimate.reason}"
        text = manifests.manifest(args.manifest, words, wanted.cards, wanted.servers, warning)
        out().print(text, end="", markup=False, soft_wrap=True)
        return code
    short = plan.enough is False or (plan.estimate.fits is False and not mended)
    sheet = Sheet(
        plan=plan,
        flags=chosen,
        command=flags.line(words),
        second=next((p for p in ranked[1:] if p.estimate.fits), None),
        ask=ask,
        backend=backend,
        changes=mended[1] if mended else (),
        considered=flags.considered(shape, chosen) if args.explain else (),
        cards_needed=search.cards_needed(shape, asked, ask) if short else None,
        reserved=_reserved(args.url) if args.url else None,
    )
    replayed = _replay(args, plan, ask) if args.trace else None
    if args.json:
        print_json({**printed(sheet), "replay": replayed})
    else:
        render(sheet, args.explain, out())
        if replayed is not None:
            render_replay(replayed, out())
    return code


def _choice(args: argparse.Namespace) -> Choice:
    from unfrag.flags.repair import repair_value
    from unfrag.plan.estimate import Choice

    kv_dtype = repair_value("--kv-cache-dtype", args.kv_cache_dtype)
    return Choice(
        tp=args.tp or max(1, args.gpu_count // ((args.pp or 1) * (args.dp or 1))),
        pp=args.pp or 1,
        dp=args.dp or 1,
        dcp=args.dcp or 1,
        expert_parallel=args.ep,
        dtype=args.dtype,
        quantization=args.quantization,
        kv_dtype=None if kv_dtype == "auto" else kv_dtype,
        utilization=args.gpu_memory_utilization,
        max_model_len=args.max_model_len,
        max_num_seqs=args.max_num_seqs,
        step_tokens=args.max_num_batched_tokens,
        block_tokens=args.block_size,
        eager=args.enforce_eager,
        draft_tokens=args.speculative_tokens,
    )


def _workload(args: argparse.Namespace) -> Workload:
    """From the trace or the bench, and what the flags say over it."""
    import msgspec

    from unfrag.plan import workload

    found = workload.Workload()
    if args.trace:
        found = workload.of_trace(args.trace)
    elif args.bench:
        found = workload.of_bench(args.bench)
    said = {
        "prompt": args.prompt_tokens,
        "output": args.output_tokens,
        "longest": args.longest_tokens,
        "concurrency": args.concurrency,
        "shared": args.shared_prefix,
        "tpot_limit": None if args.tpot_limit_ms is None else args.tpot_limit_ms / 1000,
    }
    return msgspec.structs.replace(found, **{name: value for name, value in said.items() if value is not None})


def _replay(args: argparse.Namespace, plan: Plan, ask: Ask) -> Replay:
    from unfrag.errors import NotEnoughEvidence
    from unfrag.plan import budget, replay

    if plan.estimate.kv_tokens is None:
        raise NotEnoughEvidence("how many tokens the plan's pool holds is not known, so nothing can be replayed")
    load = replay.Load(
        trace=args.trace,
        tokens=plan.estimate.kv_tokens,
        max_num_seqs=plan.estimate.choice.max_num_seqs or budget.default_seqs(ask.card, ask.version),
        instances=args.instances * plan.replicas,
        by_prefix=args.route == "prefix",
        prefill_rate=args.prefill_rate,
        tpot=args.tpot_ms / 1000,
    )
    return replay.run(load)


def _asked(found: Model, shape: Architecture, args: argparse.Namespace, plan: Plan, ask: Ask) -> tuple[Plan, str]:
    """The plan with the best word on its weights (vLLM's, the checkpoint's, the formula's), and whose it is."""

    from unfrag.facts.values import Unknown
    from unfrag.flags import vllm_version
    from unfrag.plan import estimate, introspect, search, weights

    chosen = plan.estimate.choice

    def with_weights(exact: int) -> Plan:
        again = estimate.estimate(shape, ask.card, ask.count, chosen, ask.version, exact)
        return search.weigh(shape, again, ask, exact)

    measured = weights.measured(shape, chosen, found.weights_bytes)
    loaded_otherwise = args.quantization and not shape.quantization  # quantised while loading, after what can be asked
    unasked = args.formula or args.engine_version or chosen.dp > 1 or loaded_otherwise
    if unasked:
        answer: introspect.Introspection | Unknown = Unknown("vLLM was not asked")
    else:
        given = {"quantization": args.quantization, "dtype": args.dtype, "enable_expert_parallel": args.ep or None}
        asked = {name: value for name, value in given.items() if value is not None}
        answer = introspect.ask(found.config, chosen.tp, chosen.pp, asked)
    if not isinstance(answer, Unknown):
        return with_weights(answer.weights_bytes), f"weights: vLLM {vllm_version.installed()}, asked; the rest: formula"
    if measured is not None:
        return with_weights(measured), "weights: the checkpoint's own size, divided by formula; the rest: formula"
    if unasked:
        return plan, "formula"
    return _noted(plan, f"by formula: {answer.why}"), "formula"


def _noted(plan: Plan, note: str) -> Plan:
    import msgspec

    estimate = msgspec.structs.replace(plan.estimate, notes=(*plan.estimate.notes, note))
    return msgspec.structs.replace(plan, estimate=estimate)


def _reserved(url: str) -> tuple[Reserved, ...] | Unknown:
    from unfrag.doctor import collect
    from unfrag.plan import reserved

    return reserved.find(collect.live(collect.Asked(url)))
