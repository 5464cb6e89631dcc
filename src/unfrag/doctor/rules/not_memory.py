"""Something else is wrong; memory is not the cause."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from unfrag.doctor.rules import oom
from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding
from unfrag.facts.snapshot import Metrics

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF029"
CAUSE = "not_memory"
HEALTHY = "No other fault is in the log."
_KINDS = (
    (
        "xid",
        0.85,
        "The card or its memory is faulty.",
        "nvidia-smi -q -d ECC,ROW_REMAPPER; drain the node and reset or replace the card",
    ),
    (
        "illegal_access",
        0.8,
        "A kernel touched memory it should not have: a program error.",
        "CUDA_LAUNCH_BLOCKING=1 vllm serve … --enforce-eager   # names the kernel; then report it or upgrade",
    ),
    (
        "rdma",
        0.78,
        "The network card could not register memory: its limits, and not the GPU's memory.",
        "unset NCCL_BUFFSIZE; ulimit -l unlimited (docker: --ulimit memlock=-1)",
    ),
    (
        "limits",
        0.75,
        "A limit of the operating system was met.",
        "ulimit -a; raise nofile, nproc or memlock for the service",
    ),
    ("port_in_use", 0.8, "The port is taken.", "ss -ltnp | grep :PORT   # who; then stop it or choose another --port"),
    ("hub", 0.8, "The model could not be fetched.", "hf auth whoami; export HF_TOKEN; or give a local folder"),
    (
        "file_missing",
        0.65,
        "A file is missing or damaged.",
        "compare the checkpoint's files with its index; download it again",
    ),
    ("permission", 0.65, "A file may not be read.", "ls -l the path in the message, as the server's user"),
    (
        "compiler",
        0.6,
        "A kernel could not be compiled.",
        "apt-get install gcc; nvcc --version must match torch.version.cuda",
    ),
    (
        "nccl_error",
        0.6,
        "NCCL failed.",
        "NCCL_DEBUG=INFO vllm serve …   # the WARN line before the error names the cause",
    ),
    ("disk_full", 0.6, "A disk is full.", "df -h; clear the model cache or logs"),
    ("template", 0.55, "The chat template fails.", "--chat-template FILE"),
    ("segfault", 0.5, "A process crashed.", "upgrade the driver and the engine; a core dump names the library"),
    (
        "invalid_device",
        0.5,
        "A card that was asked for is not there.",
        "nvidia-smi -L; compare with CUDA_VISIBLE_DEVICES and --tensor-parallel-size",
    ),
    (
        "over_budget",
        0.62,
        "A prompt is longer than the tokens of one step, not than the cache.",
        "--max-num-batched-tokens 8192   # or --enable-chunked-prefill",
    ),
    (
        "prompt_too_long",
        0.45,
        "A prompt is longer than --max-model-len.",
        "shorten it, or plan a longer context: unfrag plan",
    ),
)
looked = evidence.serves


def can_judge(snapshot: Snapshot) -> bool:
    return evidence.has_text(snapshot) or isinstance(snapshot.metrics, Metrics)


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    if oom.of(snapshot) is not None:
        return None
    for kind, confidence, seen, fix in _KINDS:
        event = evidence.said(snapshot, kind)
        if event is None or (event.ready and kind in ("prompt_too_long", "permission", "file_missing", "hub")):
            continue
        return Finding(
            id=ID,
            cause=CAUSE,
            severity="critical",
            confidence=confidence,
            summary=seen,
            evidence=(event.text,),
            fixes=(fix,),
            meaning="Changing memory flags will not help.",
            harmless="When it is said once and the server goes on.",
        )
    return _seats(snapshot, thresholds) or _some_error(snapshot)


def _seats(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    """Requests wait although the pool has room: the number of seats is what holds them back."""
    loads = [x for x in evidence.loads(snapshot)[-60:] if x.running and x.usage is not None]
    held = [x for x in loads if (x.waiting or 0) >= thresholds["waiting"] and (x.usage or 0) < thresholds["usage"]]
    metrics = snapshot.metrics
    if isinstance(metrics, Metrics) and metrics.running and metrics.kv_cache_usage is not None:
        running, waiting, usage = metrics.running, metrics.waiting or 0, metrics.kv_cache_usage
        if waiting < thresholds["waiting"] or usage >= thresholds["usage"]:
            return None
    elif len(held) >= max(3, len(loads) * thresholds["samples"]):
        running, waiting, usage = held[-1].running or 0, held[-1].waiting or 0, held[-1].usage or 0
    else:
        return None
    seats = int(running / max(usage, 0.05) * 0.9)
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="warning",
        confidence=0.6,
        summary=f"{waiting:.0f} requests wait while {running:.0f} run in a pool that is {usage:.0%} full: seats are short, not memory.",
        evidence=(f"running {running:.0f}, waiting {waiting:.0f}, usage {usage:.1%}",),
        fixes=(f"--max-num-seqs {seats}   # what the pool holds at the size requests have now, a tenth left free",),
        meaning="The limit on running requests keeps them out; first tokens are late although there is room.",
        harmless="When the limit is there to keep decoding fast.",
    )


def _some_error(snapshot: Snapshot) -> Finding | None:
    """An error that ended the server and is none of those above: that it is unknown is said with it."""
    error = evidence.said(snapshot, "other_error")
    ended = evidence.said(snapshot, "engine_dead", "worker_died")
    denied = evidence.fact(snapshot, "no_memory_fault")
    if denied is None and (error is None or (error.ready and ended is None)):
        return None
    if error is not None and re.search(r"[Mm]emory|KV|OOM|RuntimeError: Engine", error.text):
        return None
    text = error.text if error is not None else denied.text if denied is not None else ""
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="critical" if error is not None else "info",
        confidence=0.35,
        summary="An error ended the server that says nothing of memory."
        if error
        else "Whoever wrote this saw no failed allocation.",
        evidence=(text,),
        fixes=("look for the first error in the log, above the ones that follow from it",),
        meaning="unfrag does not know this error; nothing it does know points at memory.",
        harmless="When the server goes on.",
    )
