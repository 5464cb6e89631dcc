"""PyTorch's allocator setting and a feature exclude each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence
from unfrag.doctor.weigh.judged import judged

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.snapshot import Snapshot

CAUSE = "alloc_conf_conflict"
_VARIABLES = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF", "PYTORCH_NPU_ALLOC_CONF")
looked = evidence.serves


def can_judge(snapshot: Snapshot) -> bool:
    return evidence.has_text(snapshot) or evidence.env(snapshot, *_VARIABLES) is not None


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    event = evidence.said(snapshot, "alloc_conf")
    setting = evidence.env(snapshot, *_VARIABLES) or ""
    if event is not None:
        return judged("refused", event.text, "proven", harmless="down", message=event.text[:160])
    ipc = evidence.said(snapshot, "allreduce_ipc")
    expandable = "expandable_segments:true" in setting.lower().replace(" ", "")
    slept = evidence.fact(snapshot, "slept")
    if expandable and slept is not None and slept.numbers.get("freed") == 0:
        return judged("slept", slept.text, "proven", harmless="down")
    argument = evidence.said(snapshot, "cuda_invalid_argument")
    if ipc is None and argument is not None and any("all_reduce" in f or "ipc" in f for f in argument.frames):
        ipc = argument
    if ipc is not None and expandable:
        return judged("ipc", ipc.text, "proven", harmless="down")
    mapped = evidence.has_flag(snapshot, "--enable-cumem-allocator", "--enable-sleep-mode")  # vLLM's own pool then
    if expandable and evidence.has_flag(snapshot, "--kv-transfer-config") and not mapped:
        return judged("connector", setting, "strong", severity="warning", harmless="quiet")
    return None
