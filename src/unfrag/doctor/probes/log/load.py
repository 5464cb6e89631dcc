"""The periodic lines in which engines print their load."""

from __future__ import annotations

import re

from unfrag.doctor.probes.log.pattern import number
from unfrag.facts.log import Load

TRIGGERS = ("generation throughput", "ache Hit Rate", "#running-req", "num_requests_running", " reqs, Waiting")
_FIELDS = {
    "running": r"Running: (\d+) reqs|#running-req: (\d+)|num_requests_running[ =:]+(\d+)",
    "waiting": r"(?:Waiting|Pending): (\d+) reqs|#queue-req: (\d+)|\bwaiting[ =:]+(\d+)",
    "deferred": r"Deferred: (\d+) reqs",
    "usage": r"KV cache usage: ([\d.]+)%|token usage: ([\d.]+)|kv_cache_usage(?:_perc)?[ =:]+([\d.]+)",
    "hit_rate": r"(?<!External\x20)(?<!MM\x20)cache hit rate\s*[:=]\s*(?:GPU: )?([\d.]+)%?",
    "prompt_rate": r"prompt throughput: ([\d.]+) tokens",
    "generation_rate": r"generation throughput: ([\d.]+) tokens|gen throughput \(token/s\): ([\d.]+)",
    "preemptions": r"Preemptions: (\d+)",
}
_PATTERNS = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _FIELDS.items()}
_NEW, _CACHED = re.compile(r"#new-token: (\d+)"), re.compile(r"#cached-token: (\d+)")
_PERCENT = ("usage", "hit_rate")


def read(text: str, rank: str, life: int) -> Load | None:
    """One line's numbers; None for a line that says neither who runs nor how fast."""
    said: dict[str, float] = {}
    for name, pattern in _PATTERNS.items():
        found = pattern.search(text)
        if found is None:
            continue
        digits = next(group for group in found.groups() if group is not None)
        value = number(digits)
        if value is not None:
            in_percent = name in _PERCENT and "%" in found[0]
            said[name] = value / 100 if in_percent else value
    new, cached = _NEW.search(text), _CACHED.search(text)
    if new and cached and (total := int(new[1][:12]) + int(cached[1][:12])):
        said["hit_rate"] = int(cached[1][:12]) / total
    if "hit_rate" not in said and ("running" not in said or len(said) < 2):
        return None
    return Load(**said, rank=rank, life=life)
