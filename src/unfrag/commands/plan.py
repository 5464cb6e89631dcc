"""Say before a card is rented whether a model fits, how much it holds, and with which flags."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unfrag.commands.numbers import count, share

if TYPE_CHECKING:
    import argparse

    from unfrag.plan.architecture import Architecture
    from unfrag.plan.cards import Card
    from unfrag.plan.estimate import Estimate
    from unfrag.plan.replay import Replay

NAME = "plan"
EXAMPLES = """\
  unfrag plan --config ./GLM-4.7-Flash/config.json --gpu "RTX 4090 D" --gpu-count 4 --max-model-len 4096
  unfrag plan --config config.json --gpu H100 --gpu-count 8 --tp 8 --kv-cache-dtype fp8 --json
  unfrag plan --config config.json --gpu-memory 48 --gpu-count 2
  unfrag plan --config config.json --gpu H200 --trace trace.jsonl --instances 4
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, required=True, help="the model's config.json, or its folder; partial ones too"
    )
    parser.add_argument("--gpu", help='a card\'s name, such as "H100" or "RTX 4090 D"')
    parser.add_argument("--gpu-memory", type=float, metavar="GIB", help="of one card, when its name is not known")
    parser.add_argument("--gpu-count", type=count, default=1)
    for flag, what in (("tp", "tensor"), ("pp", "pipeline"), ("dp", "data"), ("dcp", "decode context")):
        parser.add_argument(f"--{flag}", type=count, help=f"{what} parallel size")
    parser.add_argument("--ep", action="store_true", help="expert parallel")
    parser.add_argument("--dtype")
    parser.add_argument("--quantization")
    parser.add_argument("--kv-cache-dtype")
    parser.add_argument("--gpu-memory-utilization", type=share)
    parser.add_argument("--max-model-len", type=count)
    parser.add_argument("--max-num-seqs", type=count)
    parser.add_argument("--max-num-batched-tokens", type=count)
    parser.add_argument("--block-size", type=count)
    parser.add_argument("--enforce-eager", action="store_true")
    parser.add_argument("--engine-version", help="of vLLM (default: the newest that is known)")
    parser.add_argument("--allow-kv-quantization", action="store_true", help="FP8 keys and values may be chosen")
    parser.add_argument("--formula", action="store_true", help="do not ask the installed vLLM")
    parser.add_argument("--model", help="its name for the command line (default: the config's folder)")
    parser.add_argument("--trace", type=Path, help="a request trace (Mooncake's JSONL) to run through the plan's pool")
    parser.add_argument(
        "--instances", type=count, default=1, help="servers that share the trace (default: %(default)s)"
    )
    parser.add_argument("--route", choices=("prefix", "round-robin"), default="prefix")
    parser.add_argument("--prefill-rate", type=float, default=20_000.0, help="tokens a second in the replay")
    parser.add_argument("--tpot-ms", type=float, default=30.0, help="of one token in the replay")
    parser.add_argument("--explain", action="store_true", help="each flag with its cost and when to leave it")
    parser.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    from unfrag.plan import architecture, estimate, flags, kv
    from unfrag.reports import out, print_json
    from unfrag.reports.plan import printed, render, render_replay
    from unfrag.spellings import repair_value

    raw = _config(args.config)
    shape = architecture.read(raw)
    card = _card(args.gpu, args.gpu_memory)
    version = kv.version_of(args.engine_version)
    free = args.tp is None and args.dcp is None and (args.pp or 1) == 1 and (args.dp or 1) == 1
    kv_dtype = repair_value("--kv-cache-dtype", args.kv_cache_dtype)
    choice = estimate.Choice(
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
    )
    ranked = estimate.best(shape, card, args.gpu_count, choice, version, free, args.allow_kv_quantization)
    plan, backend = _asked(raw, shape, card, args, ranked[0], version)
    plain = next(
        (e for e in ranked if e.choice.tp == plan.choice.tp and e.choice.dcp == 1 and not e.choice.kv_dtype), plan
    )
    chosen = flags.flags(plan, shape, card, plain)
    line = flags.command(args.model or _name(args.config), chosen)
    second = next((e for e in ranked[1:] if e.fits), None)
    replayed = _replay(args, plan, card, version) if args.trace else None
    if args.json:
        print_json({**printed(plan, chosen, line, second, backend), "replay": replayed})
    else:
        render(plan, chosen, line, second, card, args.gpu_count, args.explain, backend, out())
        if replayed is not None:
            render_replay(replayed, out())
    return 0 if plan.fits is not False else 1


def _replay(args: argparse.Namespace, plan: Estimate, card: Card, version: tuple[int, ...]) -> Replay:
    from unfrag.errors import NotEnoughEvidence, UsageError
    from unfrag.plan import budget, replay

    if plan.kv_tokens is None:
        raise NotEnoughEvidence("how many tokens the plan's pool holds is not known, so nothing can be replayed")
    if args.prefill_rate <= 0 or args.tpot_ms < 0:
        raise UsageError("--prefill-rate and --tpot-ms are a rate and a time; give values above zero")
    load = replay.Load(
        trace=args.trace,
        tokens=plan.kv_tokens,
        seats=args.max_num_seqs or budget.default_seqs(card, version),
        instances=args.instances,
        by_prefix=args.route == "prefix",
        prefill_rate=args.prefill_rate,
        tpot=args.tpot_ms / 1000,
    )
    return replay.run(load)


def _asked(
    raw: object, shape: Architecture, card: Card, args: argparse.Namespace, plan: Estimate, version: tuple[int, ...]
) -> tuple[Estimate, str]:
    """The plan with vLLM's own count of the weights, where the installed vLLM can and may be asked; who answered."""
    import msgspec

    from unfrag import vllm_version
    from unfrag.facts import Unknown
    from unfrag.plan import estimate, introspect

    if args.formula or args.engine_version or args.dp:
        return plan, "formula"
    flags = {"quantization": args.quantization, "dtype": args.dtype, "enable_expert_parallel": args.ep or None}
    given = {name: value for name, value in flags.items() if value is not None}
    found = introspect.ask(raw, plan.choice.tp, plan.choice.pp, given)
    if isinstance(found, Unknown):
        return msgspec.structs.replace(plan, notes=(*plan.notes, f"by formula: {found.why}")), "formula"
    exact = estimate.estimate(shape, card, args.gpu_count, plan.choice, version, found.weights_bytes)
    return exact, f"weights: vLLM {vllm_version.installed()}, asked; the rest: formula"


def _config(path: Path) -> object:
    import msgspec

    from unfrag.errors import UsageError

    file = path / "config.json" if path.is_dir() else path
    try:
        if not file.is_file():
            raise UsageError(f"--config {file}: no such file")
        return msgspec.json.decode(file.read_bytes()[: 16 << 20])
    except OSError as fault:
        raise UsageError(f"--config {file}: {fault.strerror}") from fault
    except msgspec.DecodeError as fault:
        raise UsageError(f"--config {file} is no JSON: {fault}") from fault


def _card(name: str | None, gib: float | None) -> Card:
    from unfrag.errors import UsageError
    from unfrag.plan import cards

    if gib is not None:
        if not 1 <= gib <= 4096:
            raise UsageError(f"--gpu-memory {gib:g} is no size of a card in GiB")
        return cards.Card(name or "card", int(gib * 2**30))
    if name is None:
        raise UsageError("which card? --gpu NAME, or --gpu-memory GIB")
    card = cards.find(name)
    if card is None:
        raise UsageError(f"--gpu {name!r} is not known; give its memory: --gpu-memory GIB")
    return card


def _name(config: Path) -> str:
    return str(config if config.is_dir() else config.parent if config.name == "config.json" else config.with_suffix(""))
