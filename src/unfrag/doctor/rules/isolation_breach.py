"""The container sees other cards than it was meant to, or loses the ones it had."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.doctor.weigh.judged import judged
from unfrag.facts.snapshot import Gpus, Isolation
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.snapshot import Snapshot

CAUSE = "isolation_breach"


def can_judge(snapshot: Snapshot) -> bool:
    expected = isinstance(snapshot.isolation, Isolation) and snapshot.isolation.expected is not None
    return expected or evidence.has_text(snapshot)


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    isolation = snapshot.isolation
    known = isinstance(isolation, Isolation) and None not in (isolation.expected, isolation.visible)
    if isinstance(isolation, Isolation) and known and isolation.visible != isolation.expected:
        line = f"device files: {', '.join(isolation.nodes) or 'none'}; {isolation.cgroup}"
        return judged("count", line, "strong", visible=isolation.visible, expected=isolation.expected)
    shared = _two_tenants(snapshot)
    if shared is not None:
        return shared
    over = _over_its_slice(snapshot)
    if over is not None:
        return over
    told = _told(snapshot)
    if told is not None:
        return told
    lost = evidence.said(snapshot, "nvml_unknown")
    if lost is not None and "Unknown Error" in lost.text:
        return judged("lost", lost.text, "proven")
    devices = evidence.said(snapshot, "container_devices")
    if devices is not None:
        return judged("forbidden", devices.text, "strong")
    return None


def _over_its_slice(snapshot: Snapshot) -> Judged | None:
    """A process that holds more than the slice of the card that was granted."""
    limit = evidence.fact(snapshot, "slice_limit")
    if limit is None or not isinstance(snapshot.gpus, Gpus):
        return None
    granted = limit.numbers["limit"] * 2**20
    held = max((p.used_bytes or 0 for p in snapshot.gpus.processes), default=0)
    if granted < 2**28 or held <= granted * 1.1:
        return None
    return judged("slice", limit.text, "strong", held=size(held), granted=size(granted))


def _two_tenants(snapshot: Snapshot) -> Judged | None:
    """Processes of different pods or containers ("pod-a/vllm") on one card."""
    if not isinstance(snapshot.gpus, Gpus):
        return None
    for gpu in snapshot.gpus.gpus:
        owners = {
            p.name.split("/")[0] for p in snapshot.gpus.on(gpu) if p.name and re.match(r"^[a-z0-9][\w.-]*/\w", p.name)
        }
        if len(owners) > 1:
            names = ", ".join(sorted(owners))
            return judged("tenants", names, "strong", gpu=gpu.index, names=names)
    return None


def _told(snapshot: Snapshot) -> Judged | None:
    """What pasted text says: all cards visible where a part was granted, or a rule that allows every device."""
    given = re.search(
        r"\b(\d+) of (\d+)\s?[x×]|assigned|exclusive|独占", snapshot.cards if isinstance(snapshot.cards, str) else ""
    )
    everything = evidence.said(snapshot, "visible_all")
    asked_all = evidence.env(snapshot, "NVIDIA_VISIBLE_DEVICES") == "all" or everything is not None
    expected = "expected" in evidence.command(snapshot) or given is not None
    seen_cards = evidence.cards(snapshot) or 0
    if asked_all and (expected or seen_cards > evidence.ranks(snapshot) > 1):
        line = everything.text if everything else "NVIDIA_VISIBLE_DEVICES=all"
        return judged("all_visible", line, "proven")
    allowed = evidence.said(snapshot, "cgroup_all")
    if allowed is not None:
        return judged("all_allowed", allowed.text, "strong")
    return None


def looked(snapshot: Snapshot) -> bool:
    """It is known how many cards there should be, and how many there are."""
    isolation = snapshot.isolation
    return isinstance(isolation, Isolation) and None not in (isolation.expected, isolation.visible)
