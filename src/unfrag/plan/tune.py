"""What to change about a server that runs: the advice for its pool, from the load that it was seen to carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from unfrag.errors import NotEnoughEvidence
from unfrag.facts.memory_stats import Pool
from unfrag.facts.snapshot import Launch, Metrics
from unfrag.plan.advise import Advice, advise
from unfrag.plan.effect import kv_tokens

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot
    from unfrag.plan.workload import Workload


class Tuning(msgspec.Struct, frozen=True):
    """What ``tune --json`` prints and ``apply --plan`` reads. ``flags`` are those that differ from now.

    Attributes:
        kv_tokens: that the pool will hold; None: not known beforehand.
        request_tokens: of a request as it was counted with, and ``source`` says whose word that is.
    """

    flags: tuple[Advice, ...]
    kv_tokens: int | None
    held_tokens: int | None
    request_tokens: int
    source: str
    schema_version: int = 1


def tune(snapshot: Snapshot, load: Workload, allow_kv_quantization: bool) -> Tuning:
    """Flags that make the bytes of its pool hold more requests.

    Args:
        snapshot: of the server that runs.
        load: what a bench or a human says of its requests; what it leaves out is taken from the server's own counters.

    Raises:
        NotEnoughEvidence: the pool or the length of a request is not known.
    """
    pool = snapshot.pool
    if not isinstance(pool, Pool):
        raise NotEnoughEvidence(f"{snapshot.target}: {pool.why}; it must run with unfrag's plugin: `unfrag serve`")
    now = snapshot.launch.flags if isinstance(snapshot.launch, Launch) else {}
    tokens, source = _request(snapshot, load)
    advice = advise(pool, now, tokens, allow_kv_quantization, load.held)
    changed = tuple(one for one in advice if now.get(one.flag, "") != one.value)
    after = kv_tokens(pool, now, {**now, **{one.flag: one.value for one in changed}})
    return Tuning(changed, after, pool.capacity_tokens, tokens, source)


def _request(snapshot: Snapshot, load: Workload) -> tuple[int, str]:
    if (said := load.request_tokens) is not None:
        return said, load.source
    measured = snapshot.metrics.request_tokens if isinstance(snapshot.metrics, Metrics) else None
    if not measured:
        raise NotEnoughEvidence(
            f"{snapshot.target} has finished no request yet: say what one holds with --prompt-tokens and "
            "--output-tokens, or measure with `unfrag bench` and give --bench"
        )
    return round(measured), "the mean of the requests that it has finished"
