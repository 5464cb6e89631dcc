"""What the programs print, one file a program. Adding a message is one entry; a rule asks for it by its kind."""

from __future__ import annotations

from unfrag.doctor.probes.log.messages import nccl, other_engines, refused, system, torch, vllm

MESSAGES = (
    *vllm.MESSAGES,
    *refused.MESSAGES,
    *other_engines.MESSAGES,
    *torch.MESSAGES,
    *nccl.MESSAGES,
    *system.MESSAGES,
)
