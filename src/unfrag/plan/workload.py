"""What is asked of the server: from flags, from a request trace, or from what a bench measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from unfrag.bench.result import read_result
from unfrag.errors import NotEnoughEvidence, UsageError
from unfrag.system.decode import line_of_json

if TYPE_CHECKING:
    from pathlib import Path

_LONGEST_LINE = 4 << 20
_MOST_TOKENS = 2**32
_MOST_UNITS = 2_000_000  # hash ids that are remembered: beyond them every one counts as new
_LONGEST = 0.999  # of a trace's requests: beyond it a single outlier would set the context


class Workload(msgspec.Struct, frozen=True):
    """Tokens of a request, and how many requests at once. None: not said.

    ``shared``: the share of prompt tokens that other requests have as their prefix too; those are held once.
    ``held``: requests at a time that a bench saw run without preemption, in a pool of ``held_tokens``.
    """

    prompt: int | None = None
    output: int | None = None
    longest: int | None = None
    concurrency: int | None = None
    shared: float = 0.0
    tpot_limit: float | None = None
    held: int | None = None
    held_tokens: int | None = None
    source: str = "flags"

    @property
    def request_tokens(self) -> int | None:
        """KV tokens that one request holds by itself when it ends."""
        if self.held and self.held_tokens:
            return math.ceil(self.held_tokens / self.held)
        if self.prompt is None:
            return None
        return math.ceil(self.prompt * (1 - self.shared)) + (self.output or 0)


def of_trace(path: Path, limit: int = 1_000_000) -> Workload:
    """Means, the longest, and the sharing of a trace in Mooncake's JSONL.

    Raises:
        UsageError: the file cannot be read.
        NotEnoughEvidence: it holds no request.
    """
    prompts = outputs = units = fresh = 0
    lengths: list[int] = []
    seen: set[int] = set()
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"--trace {path} is no regular file")
        with path.open(encoding="utf-8", errors="replace") as stream:
            while line := stream.readline(_LONGEST_LINE):
                try:
                    said = line_of_json(line)
                    prompt, output = int(said["input_length"]), int(said["output_length"])
                    ids = [int(i) for i in said.get("hash_ids", ())]
                except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
                    continue
                if not (0 < prompt < _MOST_TOKENS and 0 <= output < _MOST_TOKENS):
                    continue
                prompts, outputs, units = prompts + prompt, outputs + output, units + len(ids)
                fresh += sum(i not in seen for i in ids)
                if len(seen) < _MOST_UNITS:
                    seen.update(ids)
                lengths.append(prompt + output)
                if len(lengths) >= limit:
                    break
    except OSError as fault:
        raise UsageError(f"--trace {path}: {fault.strerror}") from fault
    if not lengths:
        raise NotEnoughEvidence(f"{path} holds no request in Mooncake's format (timestamp, lengths, hash_ids)")
    lengths.sort()
    return Workload(
        prompt=prompts // len(lengths),
        output=outputs // len(lengths),
        longest=lengths[min(len(lengths) - 1, int(len(lengths) * _LONGEST))],
        shared=1 - fresh / units if units else 0.0,
        source=f"{path.name}: {len(lengths):,} requests",
    )


def of_bench(path: Path) -> Workload:
    """What ``unfrag bench`` saw a server hold.

    Raises:
        UsageError: the file is no result of a bench.
        NotEnoughEvidence: it does not say the server's pool.
    """
    result = read_result(path)
    if result.pool_tokens is None:
        raise NotEnoughEvidence(f"{path} does not say the server's pool: bench one that runs unfrag's plugin")
    held = max((found.value for found in result.max_concurrency), default=0)
    calm = all(not repeat.preempted and not repeat.failed for repeat in result.repeats)
    return Workload(
        concurrency=result.in_flight,
        held=held or (result.in_flight if calm else None),
        held_tokens=result.pool_tokens,
        source=f"{path.name}: {result.workload}",
    )
