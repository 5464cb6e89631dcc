"""What rules ask of a snapshot, said once: events that still count, flags, the model's size, the cards."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from unfrag.facts.log import Log
from unfrag.facts.memory_stats import Pool
from unfrag.facts.snapshot import Gpus, Launch
from unfrag.plan import cards as cards_by_name
from unfrag.units import GIB, read_count

if TYPE_CHECKING:
    from unfrag.facts.log import Event, Load
    from unfrag.facts.snapshot import Snapshot

_CRASH_LOOP = 2
_MLA = re.compile(
    r"deepseek[-_ ]?(?:v[2-9]|r1|r2|coder-?v2|prover-?v2|vl2|math-?v2)|\bdsv[234]|\bds[-_]?r1|kimi[-_ ]?(?:k2|linear|k3)|"
    r"glm[-_ ]?4\.7[-_ ]?flash|glm[-_ ]?5|longcat|minicpm3|moonlight|mistral[-_ ]large[-_ ]3|ling[-_ ]?2\.5|ring[-_ ]?2\.5",
    re.IGNORECASE,
)
_EXPERTS = re.compile(r"(?<!\d)(\d{1,6})\s?x\s?(\d{1,6}(?:\.\d{1,6})?)\s?B\b", re.IGNORECASE)
_BILLIONS = re.compile(r"(?<![A-Za-z0-9.])(\d{1,8}(?:\.\d{1,8})?)\s?B(?![A-Za-z0-9])", re.IGNORECASE)
_SHARED_IN_EXPERTS = 0.83  # 8x7B has 46.7 billion parameters, not 56: attention is shared
_CARDS = re.compile(r"(?<!\d)(\d{1,9})\s?[x×*]\s?[A-Za-z]")
_CARD_GB = re.compile(
    r"(?<![\d.])(\d{1,8}(?:\.\d{1,8})?)\s?(?:GiB|GB|G)\b(?!\s{0,20}(?:RAM|of RAM|host|system|memory for))",
    re.IGNORECASE,
)
_RAM = re.compile(
    r"(?<![\d.])(\d{1,8}(?:\.\d{1,8})?)\s?(TB|TiB|GB|GiB|G)\s{0,20}(?:of\s{1,20})?(?:RAM|host|system mem|DRAM|DDR|memory\b)",
    re.IGNORECASE,
)
_BITS = (
    (4, r"int4|w4a|awq|gptq|4[-_ ]?bit|nf4|nvfp4|mxfp4|fp4|bnb|bitsandbytes|q4_|marlin|autoround|squeezellm"),
    (8, r"fp8|int8|w8a|8[-_ ]?bit|q8_|smoothquant|modelopt"),
)


def logs(snapshot: Snapshot) -> list[Log]:
    """The log, and pasted text that was read as one."""
    return [log for log in (snapshot.log, snapshot.notes) if isinstance(log, Log)]


def has_text(snapshot: Snapshot) -> bool:
    """Is there any text to look for messages in?"""
    return any(log.size for log in logs(snapshot))


def serves(snapshot: Snapshot) -> bool:
    """Does the log show a server that came to serve at its last start?"""
    return isinstance(snapshot.log, Log) and snapshot.log.ready


def has_ended(snapshot: Snapshot) -> bool:
    """Does anything say that the server ended?"""
    return fact(snapshot, "engine_dead", "worker_died", "oom_killed", "exit_137", "sigkill") is not None


def deaths(log: Log) -> int:
    """Lives that ended with a failed allocation while they served."""
    return len({oom.life for oom in log.ooms if oom.ready})


def still_counts(log: Log, life: int, ready: bool) -> bool:
    """A failed start counts until a later one served; a crash while serving until the start after the next served.

    Where several lives ended so, the next one will: then all of them count.
    """
    later_served = log.ready and (life < log.lives or not ready)
    return not later_served or (ready and (life == log.lives - 1 or deaths(log) >= _CRASH_LOOP))


def said(snapshot: Snapshot, *kinds: str) -> Event | None:
    """The first message of these kinds in the last life that has one and that still counts.

    First, because what follows a failure is mostly its echo in other processes.
    """
    for log in logs(snapshot):
        found = [event for event in log.all(*kinds) if still_counts(log, event.life, event.ready)]
        if found:
            last_life = found[-1].life
            return next(event for event in found if event.life == last_life)
    return None


def fact(snapshot: Snapshot, *kinds: str) -> Event | None:
    """The latest of these messages in the log's last life that has one: facts of the start."""
    return next((event for log in logs(snapshot) if (event := log.last(*kinds)) is not None), None)


def loads(snapshot: Snapshot) -> list[Load]:
    """The periodic load lines of the last life that has any."""
    found = [load for log in logs(snapshot) for load in log.loads]
    return [load for load in found if load.life == found[-1].life]


def count(snapshot: Snapshot, kind: str) -> int:
    """How often the text says it."""
    return sum(log.counts.get(kind, 0) for log in logs(snapshot))


def flag(snapshot: Snapshot, name: str) -> str | None:
    """The value of a flag; None when it is absent or bare."""
    return snapshot.launch.flags.get(name) if isinstance(snapshot.launch, Launch) else None


def has_flag(snapshot: Snapshot, *names: str) -> bool:
    """Is any of these given?"""
    flags = snapshot.launch.flags if isinstance(snapshot.launch, Launch) else {}
    return any(name in flags for name in names)


def number(snapshot: Snapshot, name: str) -> float | None:
    """A flag's value as a number ("32k" is 32,000, "32K" 32,768, as in vLLM)."""
    try:
        return read_count(flag(snapshot, name) or "")
    except ValueError:
        return None


def smaller_step(snapshot: Snapshot) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Half of ``--max-num-batched-tokens``, as names of fixes and their values; none when it is small already.

    ``step`` where it is known, ``step_guess`` where it is not known to be large.
    """
    now = number(snapshot, "--max-num-batched-tokens") or number(snapshot, "--chunked-prefill-size")
    said = fact(snapshot, "step_tokens")
    if now is None and said is not None:
        now = said.numbers.get("tokens")
    if now is None:
        return ("step_guess",), {}
    return ((), {}) if now <= 1024 else (("step",), {"step": int(now) // 2})


def kv_is_fp8(snapshot: Snapshot) -> bool:
    """Are keys and values quantised already?"""
    return (flag(snapshot, "--kv-cache-dtype") or "").startswith("fp8")


def command(snapshot: Snapshot) -> str:
    """The launch text as it was given."""
    return snapshot.launch.command if isinstance(snapshot.launch, Launch) else ""


def env(snapshot: Snapshot, *names: str) -> str | None:
    """The value of the first of these environment variables that the launch text sets."""
    values = snapshot.launch.env if isinstance(snapshot.launch, Launch) else {}
    return next((values[name] for name in names if name in values), None)


def tensor_parallel(snapshot: Snapshot) -> int:
    """Ranks that share each layer; 1 when nothing says otherwise."""
    return max(1, min(1024, int(number(snapshot, "--tensor-parallel-size") or 1)))


def ranks(snapshot: Snapshot) -> int:
    """Ranks that share the weights: tensor times pipeline parallel."""
    return tensor_parallel(snapshot) * max(1, min(1024, int(number(snapshot, "--pipeline-parallel-size") or 1)))


def utilization(snapshot: Snapshot) -> float | None:
    """``--gpu-memory-utilization`` (SGLang: ``--mem-fraction-static``), when given."""
    value = number(snapshot, "--gpu-memory-utilization")
    return value if value is not None and 0 < value <= 1 else None


def model(snapshot: Snapshot) -> str:
    """The model's name, from wherever it is known; empty when it is not."""
    names = [snapshot.model if isinstance(snapshot.model, str) else "", flag(snapshot, "--model") or ""]
    positional = re.search(r"(?:vllm|unfrag) serve\s+([^\s-]\S+)", command(snapshot))
    return " ".join(filter(None, [*names, positional[1] if positional else ""]))


def is_mla(snapshot: Snapshot) -> bool:
    """Does the model keep one latent per token instead of keys and values per head?"""
    return bool(_MLA.search(model(snapshot))) or fact(snapshot, "mla_backend") is not None


def parameters(snapshot: Snapshot) -> float | None:
    """Parameters, from a name like "Qwen3-30B-A3B" or "Mixtral-8x7B"."""
    name = re.sub(r"[_/]", " ", model(snapshot))
    if experts := _EXPERTS.search(name):
        return float(experts[1]) * float(experts[2]) * 1e9 * _SHARED_IN_EXPERTS
    if found := _BILLIONS.search(name.replace("-", " ")):
        return float(found[1]) * 1e9
    return None


def bytes_per_parameter(snapshot: Snapshot) -> float:
    """Of the weights as asked for: by quantisation flag or model name, else 2 (4 for float32)."""
    asked = f"{flag(snapshot, '--quantization') or ''} {model(snapshot)}".lower()
    for bits, pattern in _BITS:
        if re.search(pattern, asked):
            return bits / 8
    return 4.0 if flag(snapshot, "--dtype") in ("float", "float32") else 2.0


def is_quantised_by_name(snapshot: Snapshot) -> bool:
    """Does the model's name say that its weights are stored quantised?"""
    return any(re.search(pattern, model(snapshot).lower()) for _, pattern in _BITS)


def cards(snapshot: Snapshot) -> int | None:
    """How many cards there are, as measured or as told."""
    if isinstance(snapshot.gpus, Gpus) and snapshot.gpus.gpus:
        return len(snapshot.gpus.gpus)
    found = _CARDS.search(snapshot.cards) if isinstance(snapshot.cards, str) else None
    return int(found[1]) if found and len(found[1]) < 4 else None


def card_bytes(snapshot: Snapshot) -> float | None:
    """Memory of one card, as measured or as told ("4x L40S 48GB")."""
    if isinstance(snapshot.gpus, Gpus):
        totals = [gpu.total_bytes for gpu in snapshot.gpus.gpus if gpu.total_bytes]
        if totals:
            return min(totals)
    if not isinstance(snapshot.cards, str):
        return None
    found = _CARD_GB.search(snapshot.cards)
    if found and len(found[1]) < 8:
        return float(found[1]) * GIB
    card = cards_by_name.find(re.sub(r"^\s{0,20}\d{1,9}\s?[x×*]\s{0,20}", "", snapshot.cards))
    return card.memory_bytes if card is not None else None


def ram_bytes(snapshot: Snapshot) -> float | None:
    """Host memory, as told ("768 GB RAM")."""
    text = f"{snapshot.cards if isinstance(snapshot.cards, str) else ''}\n{command(snapshot)}"
    found = _RAM.search(text)
    if found is None or len(found[1]) > 8:
        return None
    return float(found[1]) * GIB * (1024 if found[2].upper().startswith("T") else 1)


def moves_blocks(snapshot: Snapshot) -> bool:
    """Are KV blocks handed to other servers or to host memory?"""
    given = has_flag(
        snapshot,
        "--kv-transfer-config",
        "--kv-offloading-size",
        "--kv-offloading-backend",
        "--disaggregation-mode",
        "--enable-hierarchical-cache",
        "--enable-elastic-kv-cache",
    )
    return given or bool(
        re.search(r"Nixl|Mooncake|LMCache|OffloadingConnector|kv_role|kvcached|MoRIIO|P/D", command(snapshot))
    )


def pool_tokens(snapshot: Snapshot) -> int | None:
    """Tokens that the KV cache holds, from ``/health`` or the log."""
    if isinstance(snapshot.pool, Pool) and snapshot.pool.capacity_tokens:
        return snapshot.pool.capacity_tokens
    size = fact(snapshot, "kv_size")
    if size is None:
        return None
    tokens = size.numbers.get("tokens") or size.numbers.get("total")
    block = number(snapshot, "--block-size") or 16
    return int(tokens or size.numbers.get("blocks", 0) * block) or None
