"""A plan's pool under a request trace: vLLM's real block pool in a child process, no model."""

from __future__ import annotations

from pathlib import Path

import msgspec

from unfrag.errors import NotEnoughEvidence, UsageError
from unfrag.flags import vllm_version
from unfrag.plan import child

_TIMEOUT_SECONDS = 600
UNIT = 512  # tokens behind one hash id of a trace in Mooncake's format


class Instance(msgspec.Struct, frozen=True):
    """One server of the fleet. Occupancy is the share of blocks that requests hold; waits are of admission."""

    requests: int
    finished: int
    refused: int
    prompt_tokens: int
    hit_tokens: int
    hit_rate: float
    preemptions: int
    most_running: int
    mean_occupancy: float
    peak_occupancy: float
    mean_wait_seconds: float
    seconds: float


class Replay(msgspec.Struct, frozen=True):
    instances: tuple[Instance, ...]
    hit_rate: float
    preemptions: int
    replayed_per_minute: float | None


class Load(msgspec.Struct, frozen=True):
    """What is replayed on each server. Rates in tokens a second, ``tpot`` in seconds."""

    trace: Path
    tokens: int
    max_num_seqs: int
    instances: int = 1
    by_prefix: bool = True
    prefill_rate: float = 20_000.0
    tpot: float = 0.03
    limit: int = 10_000_000


def run(load: Load) -> Replay:
    """Replay the trace.

    Raises:
        UsageError: the trace cannot be read, or the pool holds less than one unit.
        NotEnoughEvidence: vLLM is not installed, or the trace has no request.
    """
    if not load.trace.is_file():
        raise UsageError(f"--trace {load.trace}: no such file")
    if vllm_version.installed() is None:
        raise NotEnoughEvidence("a replay runs vLLM's own block pool: install unfrag[cpu] or unfrag[cuda]")
    if load.tokens < UNIT:
        raise UsageError(f"the pool holds {load.tokens} tokens, less than one unit of a trace ({UNIT})")
    request = {**msgspec.structs.asdict(load), "trace": str(load.trace), "unit": UNIT}
    try:
        answer = child.ask("unfrag.engine.replay", request, _TIMEOUT_SECONDS)
    except TimeoutError:
        raise NotEnoughEvidence(f"the replay took longer than {_TIMEOUT_SECONDS} s; take a part of the trace") from None
    except child.NoAnswer as fault:
        why = fault.stderr.strip().splitlines()[-1:]
        raise NotEnoughEvidence(f"the replay failed: {why[0][:200] if why else 'no reason given'}") from None
    found = msgspec.json.decode(answer, type=Replay)
    if not sum(instance.requests for instance in found.instances):
        raise NotEnoughEvidence(f"{load.trace} holds no request in Mooncake's format (timestamp, lengths, hash_ids)")
    return found
