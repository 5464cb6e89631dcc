"""The container sees other cards than it was meant to, or loses the ones it had."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding
from unfrag.facts.snapshot import Gpus, Isolation
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF028"
CAUSE = "isolation_breach"
HEALTHY = "Exactly the expected cards are visible."


def can_judge(snapshot: Snapshot) -> bool:
    expected = isinstance(snapshot.isolation, Isolation) and snapshot.isolation.expected is not None
    return expected or evidence.has_text(snapshot)


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    isolation = snapshot.isolation
    if isinstance(isolation, Isolation) and None not in (isolation.expected, isolation.visible):
        seen = f"{isolation.visible} cards are visible, {isolation.expected} were expected."
        if isolation.visible != isolation.expected:
            return _finding(seen, f"device files: {', '.join(isolation.nodes) or 'none'}; {isolation.cgroup}", 0.85)
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
        return _finding("The container lost its right to use the cards while it ran.", lost.text, 0.88)
    devices = evidence.said(snapshot, "container_devices")
    if devices is not None:
        return _finding("The container may not use the card's device files.", devices.text, 0.82)
    return None


def _over_its_slice(snapshot: Snapshot) -> Finding | None:
    """A process that holds more than the slice of the card that was granted."""
    limit = evidence.fact(snapshot, "slice_limit")
    if limit is None or not isinstance(snapshot.gpus, Gpus):
        return None
    granted = limit.numbers["limit"] * 2**20
    held = max((p.used_bytes or 0 for p in snapshot.gpus.processes), default=0)
    if granted < 2**28 or held <= granted * 1.1:
        return None
    return _finding(f"{size(held)} are held where {size(granted)} were granted.", limit.text, 0.86)


def _two_tenants(snapshot: Snapshot) -> Finding | None:
    """Processes of different pods or containers ("pod-a/vllm") on one card."""
    if not isinstance(snapshot.gpus, Gpus):
        return None
    for gpu in snapshot.gpus.gpus:
        owners = {
            p.name.split("/")[0] for p in snapshot.gpus.on(gpu) if p.name and re.match(r"^[a-z0-9][\w.-]*/\w", p.name)
        }
        if len(owners) > 1:
            return _finding(f"GPU {gpu.index} carries {', '.join(sorted(owners))}.", ", ".join(sorted(owners)), 0.86)
    return None


def _told(snapshot: Snapshot) -> Finding | None:
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
        return _finding("All cards of the machine are visible, and a part of them was granted.", line, 0.9)
    allowed = evidence.said(snapshot, "cgroup_all")
    if allowed is not None:
        return _finding("The container's device rule allows every device, not only its cards.", allowed.text, 0.84)
    return None


def _finding(seen: str, line: str, confidence: float) -> Finding:
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="critical",
        confidence=confidence,
        summary=seen,
        evidence=(line,),
        fixes=(
            "docker run --gpus '\"device=0,1,2,3\"' …   # names the cards, instead of NVIDIA_VISIBLE_DEVICES=all",
            "nvidia-smi -L; ls -l /dev/nvidia*   # inside the container: what it sees and may open",
            "cgroup v1: cat /sys/fs/cgroup/devices/devices.list shows c 195:* rwm; cgroup v2 has no such file, use the device files",
            "after `systemctl daemon-reload` on the host, containers without explicit --device lose the cards: restart them",
        ),
        meaning="Two servers that see the same cards plan with the same memory.",
        harmless="When the cards are meant to be shared.",
    )


def looked(snapshot: Snapshot) -> bool:
    """It is known how many cards there should be, and how many there are."""
    isolation = snapshot.isolation
    return isinstance(isolation, Isolation) and None not in (isolation.expected, isolation.visible)
