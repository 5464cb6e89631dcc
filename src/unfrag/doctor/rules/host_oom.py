"""The host, or the container's limit, ran out of memory: the kernel killed or refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding, Severity
from unfrag.facts.snapshot import Host
from unfrag.units import GIB, size

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF019"
CAUSE = "host_oom"
HEALTHY = "Nothing was killed or refused for want of host memory."
_OURS = re.compile(
    r"python|vllm|ray|sglang|lmdeploy|turbomind|EngineC|Worker|pt_main|uvicorn|mooncake|lmcache", re.IGNORECASE
)
_PER_RANK = re.compile(
    r"(?:max_local_cpu_size|swap[-_]space|cpu[-_]offload[-_]gb|LMCACHE_MAX_LOCAL_CPU_SIZE)\D{0,6}(\d+(?:\.\d+)?)",
    re.IGNORECASE,
)


def can_judge(snapshot: Snapshot) -> bool:
    return evidence.has_text(snapshot) or isinstance(snapshot.host, Host)


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    for kinds, confidence, seen in (
        (("oom_killer",), 0.96, "The kernel killed a process for want of host memory."),
        (("oom_killed",), 0.93, "The container was killed for want of host memory (exit code 137)."),
        (("exit_137",), 0.72, "The container ended with code 137: a SIGKILL, as the kernel's OOM killer sends."),
        (("ray_oom",), 0.93, "Ray killed a worker: the node was low on memory."),
        (("swap_space",), 0.9, "vLLM's swap space is larger than the host's memory."),
        (("cpu_alloc", "offload_host"), 0.88, "An allocation of host memory failed."),
    ):
        event = evidence.said(snapshot, *kinds)
        if event is None:
            continue
        victim = event.words.get("name", "")
        if victim and not _OURS.search(victim) and not evidence.has_ended(snapshot):
            said = f"The kernel killed {victim}, which is not the server: the host is short of memory."
            return _finding(snapshot, said, event.text, 0.6, "warning")
        return _finding(snapshot, seen, event.text, confidence)
    planned = _planned(snapshot)
    ram = evidence.ram_bytes(snapshot)
    if planned and ram and planned > ram * thresholds["planned"]:
        seen = f"{size(planned)} of host memory are asked for on all ranks together, and there are {size(ram)}."
        return _finding(snapshot, seen, evidence.command(snapshot)[:300], 0.85)
    event = evidence.said(snapshot, "host_alloc")
    if event is not None and evidence.said(snapshot, "rdma", "limits") is None:
        return _finding(snapshot, "An allocation of host memory failed.", event.text, 0.72)
    killed = evidence.said(snapshot, "sigkill")
    leaked = evidence.said(snapshot, "shm_leaked")
    if killed is not None:
        return _finding(snapshot, "A process ended by SIGKILL, as the kernel's OOM killer does.", killed.text, 0.6)
    if leaked is not None and planned:
        return _finding(
            snapshot, "A process vanished without cleaning up, as one that is killed does.", leaked.text, 0.4
        )
    host = snapshot.host
    if (
        isinstance(host, Host)
        and host.limit_bytes
        and host.used_bytes
        and host.limit_bytes - host.used_bytes < host.limit_bytes * thresholds["ratio"]
    ):
        seen = f"{size(host.used_bytes)} of the container's {size(host.limit_bytes)} are in use."
        return _finding(snapshot, seen, seen, 0.5, "warning")
    return None


def _planned(snapshot: Snapshot) -> float | None:
    """Host memory that the flags ask for: each of these is per rank, in GiB."""
    found = _PER_RANK.search(evidence.command(snapshot))
    if found is None or len(found[1]) > 8:
        return None
    value = float(found[1])
    each = value if value > 1e6 else value * GIB
    return each * evidence.ranks(snapshot)


def _finding(snapshot: Snapshot, seen: str, line: str, confidence: float, severity: Severity = "critical") -> Finding:
    return Finding(
        id=ID,
        cause=CAUSE,
        severity=severity,
        confidence=confidence,
        summary=seen,
        evidence=(line,),
        fixes=(
            "dmesg -T | grep -i -E 'oom|killed process'   # whom the kernel chose, and the limit it kept",
            "raise the container's memory limit, or lower --cpu-offload-gb (once per rank), --kv-offloading-size (all ranks together), LMCache's max_local_cpu_size (once per rank)",
            "--safetensors-load-strategy lazy   # weights are mapped and not read whole into host memory",
        ),
        meaning="This is the host's memory and not the card's; flags for the card do not help.",
        harmless="Never, once a process was killed.",
    )


def looked(snapshot: Snapshot) -> bool:
    """The host was asked, or a server's log shows that it serves."""
    return isinstance(snapshot.host, Host) or evidence.serves(snapshot)
