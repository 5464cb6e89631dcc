"""The host, or the container's limit, ran out of memory: the kernel killed or refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.doctor.weigh.judged import judged
from unfrag.facts.snapshot import Host
from unfrag.units import GIB, size

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.finding import Certainty
    from unfrag.facts.snapshot import Snapshot

CAUSE = "host_oom"
_OURS = re.compile(
    r"python|vllm|ray|sglang|lmdeploy|turbomind|EngineC|Worker|pt_main|uvicorn|mooncake|lmcache", re.IGNORECASE
)
_PER_RANK = re.compile(
    r"(?:max_local_cpu_size|swap[-_]space|cpu[-_]offload[-_]gb|LMCACHE_MAX_LOCAL_CPU_SIZE)\D{0,6}(\d+(?:\.\d+)?)",
    re.IGNORECASE,
)


_KINDS: tuple[tuple[str, tuple[str, ...], Certainty], ...] = (
    ("oom_killer", ("oom_killer",), "proven"),
    ("oom_killed", ("oom_killed",), "proven"),
    ("exit_137", ("exit_137",), "likely"),
    ("ray_oom", ("ray_oom",), "proven"),
    ("swap_space", ("swap_space",), "proven"),
    ("refused", ("cpu_alloc", "offload_host"), "proven"),
)


def can_judge(snapshot: Snapshot) -> bool:
    return evidence.has_text(snapshot) or isinstance(snapshot.host, Host)


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    for seen, kinds, certainty in _KINDS:
        event = evidence.said(snapshot, *kinds)
        if event is None:
            continue
        victim = event.words.get("name", "")
        if victim and not _OURS.search(victim) and not evidence.has_ended(snapshot):
            return judged("other_killed", event.text, "likely", severity="warning", victim=victim)
        return judged(seen, event.text, certainty)
    planned = _planned(snapshot)
    ram = evidence.ram_bytes(snapshot)
    if planned and ram and planned > ram * thresholds["planned"]:
        line = evidence.command(snapshot)[:300]
        return judged("planned", line, "strong", planned=size(planned), ram=size(ram))
    event = evidence.said(snapshot, "host_alloc")
    if event is not None and evidence.said(snapshot, "rdma", "limits") is None:
        return judged("refused", event.text, "likely")
    killed = evidence.said(snapshot, "sigkill")
    leaked = evidence.said(snapshot, "shm_leaked")
    if killed is not None:
        return judged("sigkill", killed.text, "likely")
    if leaked is not None and planned:
        return judged("vanished", leaked.text, "possible")
    host = snapshot.host
    if (
        isinstance(host, Host)
        and host.limit_bytes
        and host.used_bytes
        and host.limit_bytes - host.used_bytes < host.limit_bytes * thresholds["ratio"]
    ):
        used, limit = size(host.used_bytes), size(host.limit_bytes)
        line = f"{used} of the container's {limit} are in use."
        return judged("limit", line, "possible", severity="warning", used=used, limit=limit)
    return None


def _planned(snapshot: Snapshot) -> float | None:
    """Host memory that the flags ask for: each of these is per rank, in GiB."""
    found = _PER_RANK.search(evidence.command(snapshot))
    if found is None or len(found[1]) > 8:
        return None
    value = float(found[1])
    each = value if value > 1e6 else value * GIB
    return each * evidence.ranks(snapshot)


def looked(snapshot: Snapshot) -> bool:
    """The host was asked, or a server's log shows that it serves."""
    return isinstance(snapshot.host, Host) or evidence.serves(snapshot)
