"""The context or the concurrency that is asked for needs more KV cache than there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from unfrag.doctor.weigh import evidence
from unfrag.doctor.weigh.judged import judged
from unfrag.facts.memory_stats import Pool
from unfrag.facts.snapshot import Metrics
from unfrag.units import GIB, size

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.finding import Certainty, Severity
    from unfrag.facts.log import Event
    from unfrag.facts.snapshot import Snapshot

CAUSE = "kv_pool_too_small"


class _Room(NamedTuple):
    """Tokens that fit as it is; bytes that are missing, and bytes that there are."""

    fits: int | None = None
    missing: float | None = None
    have: float | None = None


_UNKNOWN_ROOM = _Room()


def can_judge(snapshot: Snapshot) -> bool:
    live = isinstance(snapshot.pool, Pool) and isinstance(snapshot.metrics, Metrics)
    return live or evidence.has_text(snapshot)


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    entries = evidence.said(snapshot, "cache_entries")
    if entries is not None:
        return _judged(snapshot, "entries", entries.text, "proven")
    refused = evidence.said(snapshot, "kv_context", "prompt_over_pool")
    if refused is not None and not _only_too_long(snapshot, refused, thresholds):
        return _refused(snapshot, refused)
    none = evidence.said(snapshot, "kv_none")
    if none is not None:
        return _judged(snapshot, "nothing", none.text, "likely")
    return _queue(snapshot, thresholds) or _one_request(snapshot, thresholds)


def _only_too_long(snapshot: Snapshot, event: Event, thresholds: dict[str, Any]) -> bool:
    """SGLang says the same of a prompt beyond the context and of one beyond the pool: compare the two."""
    asked = evidence.number(snapshot, "--max-model-len")
    if "allowed" in event.numbers and asked is not None and event.numbers["allowed"] < asked * thresholds["allowed"]:
        return False
    size = evidence.fact(snapshot, "kv_size")
    pool, context = (size.numbers.get("total"), size.numbers.get("context")) if size else (None, None)
    return "allowed" in event.numbers and not (pool and context and pool < context)


def _refused(snapshot: Snapshot, event: Event) -> Judged:
    numbers = event.numbers
    fits = int(numbers.get("fits") or numbers.get("tokens") or 0)
    if event.kind == "prompt_over_pool":
        return _judged(snapshot, "prompt", event.text, "proven")
    missing = numbers.get("need", 0.0) - numbers.get("have", 0.0)
    room = _Room(fits or None, missing or None, numbers.get("have"))
    if "need" not in numbers:
        length = numbers.get("length", 0)
        return _judged(snapshot, "length", event.text, "proven", room, length=length, fits=fits)
    sizes: dict[str, Any] = {"need": size(numbers["need"]), "have": size(numbers["have"])}
    if "length" in numbers:
        return _judged(snapshot, "need_for", event.text, "proven", room, length=numbers["length"], **sizes)
    return _judged(snapshot, "need", event.text, "proven", room, **sizes)


def _queue(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    pool, metrics = snapshot.pool, snapshot.metrics
    if isinstance(pool, Pool) and isinstance(metrics, Metrics):
        waiting = metrics.waiting or 0
        if pool.gpu_cache_usage >= thresholds["usage"] and waiting >= thresholds["waiting"] and metrics.running:
            line = f"running {metrics.running or 0:.0f}, waiting {waiting:.0f}, usage {pool.gpu_cache_usage:.3f}"
            tokens = pool.capacity_tokens
            filled: dict[str, Any] = {"usage": pool.gpu_cache_usage, "waiting": waiting}
            if not tokens:
                return _judged(snapshot, "queue", line, "strong", severity="warning", **filled)
            return _judged(snapshot, "queue_tokens", line, "strong", severity="warning", tokens=tokens, **filled)
    elif isinstance(metrics, Metrics) and metrics.running:
        waiting = metrics.waiting or 0
        if (metrics.kv_cache_usage or 0) >= thresholds["usage"] and waiting >= thresholds["waiting"]:
            line, usage = f"running {metrics.running:.0f}, waiting {waiting:.0f}", metrics.kv_cache_usage
            return _judged(snapshot, "queue", line, "strong", severity="warning", usage=usage, waiting=waiting)
    loads = [load for load in evidence.loads(snapshot)[-60:] if load.running]
    full = [x for x in loads if (x.usage or 0) >= thresholds["usage"] and (x.waiting or 0) >= thresholds["waiting"]]
    if len(full) >= max(2, len(loads) * thresholds["samples"]):
        last = full[-1]
        line = f"running {last.running:.0f}, waiting {last.waiting:.0f}, usage {last.usage:.1%}"
        counts: dict[str, Any] = {"full": len(full), "samples": len(loads)}
        return _judged(snapshot, "samples", line, "strong", severity="warning", **counts)
    return None


def _one_request(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    times = evidence.fact(snapshot, "concurrency")
    if times is not None and times.numbers.get("times", 9.0) < thresholds["concurrency"]:
        return _judged(snapshot, "one", times.text, "likely", severity="warning", times=times.numbers["times"])
    return None


def _more_of_the_card(snapshot: Snapshot, missing: float | None) -> tuple[str, dict[str, Any]]:
    """A higher share of the card, where it stays below what can be had: a fix and its values."""
    given, card = evidence.utilization(snapshot) or 0.92, evidence.card_bytes(snapshot)
    if missing is None or card is None:
        return "spare", {}
    wanted = given + missing / card
    if wanted > 0.97:
        return "cards", {"gib": f"{missing / GIB:.1f}"}
    return "utilization", {"utilization": f"{wanted + 0.005:.2f}", "gib": f"{missing / GIB:.2f}"}


def _judged(
    snapshot: Snapshot,
    seen: str,
    line: str,
    certainty: Certainty,
    room: _Room = _UNKNOWN_ROOM,
    severity: Severity | None = None,
    **values: Any,
) -> Judged:
    fixes = []
    if room.fits:
        fixes.append("context")
        values["fits"] = room.fits
    have, missing = room.have, room.missing
    enough = missing is None or have is None or (have > 0 and have + missing <= 2 * have)
    if enough and not evidence.kv_is_fp8(snapshot):
        fixes.append("fp8")
    more, numbers = _more_of_the_card(snapshot, missing)
    return judged(seen, line, certainty, fixes=(*fixes, more), severity=severity, **values, **numbers)


def looked(snapshot: Snapshot) -> bool:
    """Metrics, or load lines, say how full the pool is."""
    return isinstance(snapshot.metrics, Metrics) or bool(evidence.loads(snapshot))
