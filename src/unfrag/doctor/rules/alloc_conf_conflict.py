"""PyTorch's allocator setting and a feature exclude each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding, Severity

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF026"
CAUSE = "alloc_conf_conflict"
HEALTHY = "The allocator's settings go with the flags."
_VARIABLES = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF", "PYTORCH_NPU_ALLOC_CONF")
looked = evidence.serves


def can_judge(snapshot: Snapshot) -> bool:
    return evidence.has_text(snapshot) or evidence.env(snapshot, *_VARIABLES) is not None


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    event = evidence.said(snapshot, "alloc_conf")
    setting = evidence.env(snapshot, *_VARIABLES) or ""
    if event is not None:
        return _finding(f"The allocator's setting was refused: {event.text[:160]}", event.text, 0.95)
    ipc = evidence.said(snapshot, "allreduce_ipc")
    expandable = "expandable_segments:true" in setting.lower().replace(" ", "")
    slept = evidence.fact(snapshot, "slept")
    if expandable and slept is not None and slept.numbers.get("freed") == 0:
        return _finding("Sleep mode gave nothing back while expandable segments are on.", slept.text, 0.97)
    argument = evidence.said(snapshot, "cuda_invalid_argument")
    if ipc is None and argument is not None and any("all_reduce" in f or "ipc" in f for f in argument.frames):
        ipc = argument
    if ipc is not None and expandable:
        return _finding("Memory of expandable segments cannot be shared between ranks.", ipc.text, 0.92)
    mapped = evidence.has_flag(snapshot, "--enable-cumem-allocator", "--enable-sleep-mode")  # vLLM's own pool then
    if expandable and evidence.has_flag(snapshot, "--kv-transfer-config") and not mapped:
        return _finding("expandable_segments and a KV connector exclude each other.", setting, 0.75, "warning")
    return None


def _finding(seen: str, line: str, confidence: float, severity: Severity = "critical") -> Finding:
    return Finding(
        id=ID,
        cause=CAUSE,
        severity=severity,
        confidence=confidence,
        summary=seen,
        evidence=(line,),
        fixes=(
            "env -u PYTORCH_CUDA_ALLOC_CONF -u PYTORCH_ALLOC_CONF vllm serve …   # the setting helped nothing that is measured here",
        ),
        meaning="Memory that the allocator may remap cannot be shared with other processes, registered, or put to sleep.",
        harmless="Where the server starts and no KV leaves it."
        if severity == "warning"
        else "Never: the server does not start.",
    )
