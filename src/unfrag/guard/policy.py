"""The thresholds at which the guard does something. What it does is in :mod:`unfrag.guard.table`."""

from __future__ import annotations

from typing import Annotated

import msgspec

# The description is what an error says is wanted: policy_file.py.
Seconds = Annotated[float, msgspec.Meta(ge=0, le=31_536_000, description="a number of seconds from 0 to 31536000")]
Interval = Annotated[float, msgspec.Meta(gt=0, le=86_400, description="a number of seconds above 0, at most 86400")]
Drain = Annotated[float, msgspec.Meta(ge=0, le=86_000, description="a number of seconds from 0 to 86000")]
Share = Annotated[float, msgspec.Meta(ge=0, le=1, description="a share from 0 to 1, such as 0.95")]
Times = Annotated[int, msgspec.Meta(ge=0, le=1_000_000, description="a whole number from 0 to 1000000")]
Switch = Annotated[bool, msgspec.Meta(description="true or false")]
TimeOfDay = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(?:(?:[01]\d|2[0-3]):[0-5]\d)?$", description='a time of day such as "02:00", or "" for never'
    ),
]


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds, blocks and shares at which something is done. ``policies/article.toml`` has the article's own."""

    interval: Interval = 5.0
    start_seconds: Seconds = 900.0
    """A server that was started may take this long to answer, and longer while its processes work."""
    hang_seconds: Seconds = 45.0
    """An engine that has not moved, or a silent server, whose processes do nothing."""
    busy_seconds: Seconds = 600.0
    """The same where its processes work: a kernel may be compiled, or weights read."""
    memory_share: Share = 0.95
    memory_seconds: Seconds = 120.0
    memory_above: Share = 0.03
    """Beyond vLLM's own budget of the card, as a share of it; without a card, beyond what it held once settled."""
    settle_seconds: Seconds = 600.0
    """So long after its start what a server without a card holds is taken for ordinary."""
    released_but_full_seconds: Seconds = 300.0
    restart_full_cards: Switch = False
    """Any card above ``memory_share`` is flushed and restarted, whatever vLLM allows itself."""
    largest_free_block: Times = 50
    largest_seconds: Seconds = 300.0
    flush_cool_down: Seconds = 1800.0
    runs_matter: Switch = False
    """Something in the server gains from adjacent free blocks that the guard cannot see."""
    empties_cache: Switch = False
    """A scattered pool and the night end in a flush of the whole prefix cache, whether anybody gains by it or not."""
    restarts_an_hour: Times = 3
    """That did not help."""
    again_seconds: Seconds = 30.0
    """After the first restart in vain it waits so long for the next, after the second twice as long."""
    helped_seconds: Seconds = 60.0
    """A server that was well for so long after its restarts was helped by them: the incident is over."""
    most_restarts_an_hour: Times = 10
    quiet_from: TimeOfDay = ""
    """``HH:MM``: between this and ``quiet_to`` no server that still serves is restarted."""
    quiet_to: TimeOfDay = ""
    nightly: TimeOfDay = "02:00"
    """At this time of day blocks are moved together where that matters; empty: never. A missed night is made up for."""
    drain_seconds: Drain = 60.0
    doctor_seconds: Seconds = 300.0
    """Between two diagnoses; 0: none are made."""


def contradiction(policy: Policy) -> str | None:
    """What in a policy would make a healthy server look ill; None when nothing does."""
    for name in ("hang_seconds", "busy_seconds"):
        if (limit := getattr(policy, name)) < policy.interval:
            return f"{name} {limit:g} is below the interval {policy.interval:g}: every server would look hung"
    if policy.busy_seconds < policy.hang_seconds:
        return f"busy_seconds {policy.busy_seconds:g} is below hang_seconds {policy.hang_seconds:g}"
    return None
