"""One look at one server: its ``/health``, what the plugin says there, and its launcher."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from unfrag.apply.unfinished import under_way
from unfrag.errors import UnfragError
from unfrag.facts.memory_stats import Pool
from unfrag.guard.state import Answer, Poll
from unfrag.server import health

if TYPE_CHECKING:
    from unfrag.guard.activity import Processes
    from unfrag.guard.heartbeat import Heartbeat
    from unfrag.guard.targets import Target
    from unfrag.launchers import Launcher


def poll(
    client: httpx.Client,
    target: Target,
    launcher: Launcher | None,
    now: float,
    patience: float,
    heartbeat: Heartbeat,
    processes: Processes,
) -> Poll:
    """Never raises: whatever happens is what was seen.

    Args:
        patience: seconds for ``/health``.
        heartbeat: for a server that answers without the plugin's numbers.
        processes: what the server's own do, where its launcher is known.
    """
    answers, pool = _health(client, target, patience)
    age = pool.age_seconds if pool else None
    if answers == "ok" and pool is None:
        age = heartbeat.age(client, target.url.rstrip("/"), patience)
    state, pid = _launched(launcher)
    changing, cut_short = _change(launcher, target) if answers != "ok" else (None, None)
    return Poll(
        at=now,
        answers=answers,
        launcher=state,
        pid=pid,
        age=age,
        steps=pool.steps if pool else None,
        activity=processes.activity(pid),
        changing=changing,
        cut_short=cut_short,
        memory=_memory(pool, target.memory_limit) if pool else None,
        is_card=pool is not None and any(rank.total_bytes for rank in pool.ranks),
        over_budget=_over_budget(pool) if pool else None,
        runs_matter=pool.kv_connector if pool else None,
        free_blocks=pool.free_blocks if pool else None,
        largest_free_block=pool.largest_free_block if pool else None,
    )


def _health(client: httpx.Client, target: Target, patience: float) -> tuple[Answer, Pool | None]:
    try:
        answer = client.get(f"{target.url.rstrip('/')}/health", timeout=patience)
    except httpx.ConnectError:
        return "refused", None
    except (httpx.HTTPError, httpx.InvalidURL):
        return "silent", None
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return "dead", None
    if answer.status_code != httpx.codes.OK:
        return "silent", None
    found = health.parse(answer.content)
    return "ok", found if isinstance(found, Pool) else None  # vLLM's own has no body


def _launched(launcher: Launcher | None) -> tuple[str | None, int | None]:
    if launcher is None:
        return None, None
    try:
        status = launcher.status()
    except UnfragError:
        return None, None
    return status.state, status.pid or None


def _change(launcher: Launcher | None, target: Target) -> tuple[str | None, str | None]:
    """(the change that is being made, or what ends one that was cut short)."""
    if launcher is None:
        return None, None
    try:
        found = under_way(launcher)
    except (UnfragError, OSError):
        return None, None
    if found is None:
        return None, None
    return (None, f"unfrag rollback {target.origin}") if found.cut_short else (found.kept.id, None)


def _memory(pool: Pool, limit: int | None) -> float | None:
    """Of the fullest rank: what is in use of its card, or of the host memory that it was granted."""
    shares = []
    for rank in pool.ranks:
        if rank.total_bytes and rank.reserved_bytes is not None:
            shares.append((rank.reserved_bytes + (rank.non_torch_bytes or 0)) / rank.total_bytes)
        elif limit and rank.resident_bytes is not None:
            shares.append(rank.resident_bytes / limit)
    return max(shares, default=None)


def _over_budget(pool: Pool) -> float | None:
    """Of the rank that is furthest beyond what vLLM lets it hold: by how much, over the whole card.

    Only what its own allocator has reserved counts: what other processes hold of the card no restart would cure.
    """
    shares = [
        (rank.reserved_bytes - rank.budget_bytes) / rank.total_bytes
        for rank in pool.ranks
        if rank.total_bytes and rank.reserved_bytes is not None and rank.budget_bytes is not None
    ]
    return max(shares, default=None)
