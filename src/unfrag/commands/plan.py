"""Say before a card is rented whether a model fits, how much it holds, and with which flags."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unfrag.commands.numbers import count, share, tokens

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
    from unfrag.plan.manifests import KINDS

    parser.add_argument(
        "--config", required=True, help="the model's config.json (partial ones too), its folder, or its id on the hub"
    )
    parser.add_argument("--gpu", help='a card\'s name, such as "H100", "RTX 4090 D" or "4x H100"')
    parser.add_argument("--gpu-memory", type=float, metavar="GIB", help="of one card, when its name is not known")
    parser.add_argument("--gpu-count", type=count, help="how many (default: 1, or what --gpu says)")
    for flag, what in (("tp", "tensor"), ("pp", "pipeline"), ("dp", "data"), ("dcp", "decode context")):
        parser.add_argument(f"--{flag}", type=count, help=f"{what} parallel size")
    parser.add_argument("--ep", action="store_true", help="expert parallel")
    parser.add_argument("--dtype")
    parser.add_argument("--quantization")
    parser.add_argument("--kv-cache-dtype")
    parser.add_argument("--gpu-memory-utilization", type=share)
    for flag in ("max-model-len", "max-num-batched-tokens"):
        parser.add_argument(f"--{flag}", type=tokens, metavar="TOKENS", help="such as 131072, 128k or 128K")
    for flag in ("max-num-seqs", "block-size"):
        parser.add_argument(f"--{flag}", type=count)
    parser.add_argument("--enforce-eager", action="store_true")
    parser.add_argument(
        "--speculative-tokens", type=count, metavar="N", help="draft N tokens with the model's own MTP layer"
    )
    parser.add_argument("--engine-version", help="of vLLM (default: the newest that is known)")
    parser.add_argument("--allow-kv-quantization", action="store_true", help="FP8 keys and values may be chosen")
    parser.add_argument("--formula", action="store_true", help="do not ask the installed vLLM")
    parser.add_argument("--model", help="its name for the command line (default: the config's folder)")
    parser.add_argument("--explain", action="store_true", help="each flag with its cost, and what was left alone")
    parser.add_argument("--as", dest="manifest", choices=KINDS, help="print the plan as this, and nothing else")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the picture of the cards there")
    parser.add_argument("--json", action="store_true")
    _prepare_workload(parser.add_argument_group("what is asked of the server"))
    _prepare_replay(parser.add_argument_group("replay of a trace through the plan's pool"))


def _prepare_workload(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--prompt-tokens", type=tokens, help="of a typical request")
    group.add_argument("--output-tokens", type=tokens, help="of a typical request")
    group.add_argument("--longest-tokens", type=tokens, help="prompt and output of the longest request")
    group.add_argument("--concurrency", type=count, help="requests at a time that must fit")
    group.add_argument("--shared-prefix", type=share, help="share of a prompt that other requests begin with too")
    group.add_argument("--tpot-limit-ms", type=float, metavar="MS", help="plans whose bandwidth forbids it come last")
    group.add_argument("--bench", type=Path, metavar="FILE", help="a result of unfrag bench, for what a request holds")
    group.add_argument("--url", help="a running server: what it has reserved and does not use")


def _prepare_replay(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--trace", type=Path, help="a request trace (Mooncake's JSONL); a workload, too")
    group.add_argument("--instances", type=count, default=1, help="servers that share the trace (default: %(default)s)")
    group.add_argument("--route", choices=("prefix", "round-robin"), default="prefix")
    group.add_argument("--prefill-rate", type=float, default=20_000.0, help="tokens a second in the replay")
    group.add_argument("--tpot-ms", type=float, default=30.0, help="of one token in the replay")


def run(args: argparse.Namespace) -> int:
    from unfrag.plan import architecture, cards, flags, kv, manifests, model, search
    from unfrag.reports import out, picture, print_json
    from unfrag.reports.text.plan import Sheet, printed, render, render_replay
    from unfrag.system.files import write_atomically

    _check(args)
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


def _check(args: argparse.Namespace) -> None:
    """Flags that do not go together; and how many cards there are."""
    from math import isfinite

    from unfrag.errors import UsageError
    from unfrag.plan import cards

    if (args.model or "").startswith("-"):
        raise UsageError(f"--model {args.model[:60]!r} would read as a flag")
    if args.manifest and args.json:
        raise UsageError("--as prints a manifest and --json prints JSON; give one")
    if args.instances > 1 and not args.trace:
        raise UsageError("--instances shares out a trace; give --trace")
    if args.instances > 1024:
        raise UsageError("--instances: at most 1024 servers")
    args.gpu, counted = cards.counted(args.gpu) if args.gpu else (args.gpu, None)
    if counted is not None and args.gpu_count not in (None, counted):
        raise UsageError(f"--gpu says {counted} cards and --gpu-count {args.gpu_count}; give one")
    args.gpu_count = args.gpu_count or counted or 1
    if args.gpu_count > 4096:
        raise UsageError("--gpu-count: at most 4096 cards")
    for name in ("tpot_limit_ms", "prefill_rate", "tpot_ms"):
        value = getattr(args, name)
        if value is not None and not (isfinite(value) and value > 0):
            raise UsageError(f"--{name.replace('_', '-')} is a number above zero")
    if args.trace and args.bench:
        raise UsageError("--trace and --bench both say what is asked of the server; give one")
    if args.output_tokens and not args.prompt_tokens and not args.trace:
        raise UsageError("--output-tokens alone says little; give --prompt-tokens too")
    if args.longest_tokens and args.longest_tokens < (args.prompt_tokens or 0) + (args.output_tokens or 0):
        raise UsageError("--longest-tokens is less than --prompt-tokens and --output-tokens together")


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
