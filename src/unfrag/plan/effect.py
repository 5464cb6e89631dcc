"""What a change of flags does to a running server's KV cache, where that can be said before it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from unfrag.errors import UsageError
from unfrag.plan.advise import BYTES_OF_DTYPE
from unfrag.system import resources
from unfrag.system.decode import decoded
from unfrag.system.files import read_file
from unfrag.units import read_size

if TYPE_CHECKING:
    from pathlib import Path

    from unfrag.facts.memory_stats import Pool

TOLERANCE = 0.05
# With these, bytes move between the cache and everything else: how many is known when the server has started.
_MOVE_BYTES = (
    *("--gpu-memory-utilization", "--max-num-seqs", "--max-num-batched-tokens", "--max-model-len", "--enforce-eager"),
    *("--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size", "--decode-context-parallel-size"),
    *("--enable-expert-parallel", "--quantization", "--dtype", "--model", "--speculative-config", "--cpu-offload-gb"),
    *("--num-gpu-blocks-override", "--kv-cache-memory-bytes", "--compilation-config", "--enable-lora"),
)


class Chosen(msgspec.Struct, frozen=True):
    """One flag; ``value`` None: bare."""

    flag: Annotated[str, msgspec.Meta(pattern=r"^--[a-z0-9][a-z0-9.-]*$")]
    value: str | None


class Given(msgspec.Struct, frozen=True):
    """A plan as `unfrag plan --json` wrote it, as far as a change needs it."""

    flags: tuple[Chosen, ...]
    kv_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    fits: bool | None = None

    @property
    def wanted(self) -> dict[str, str | None]:
        return {one.flag: one.value for one in self.flags}


def read_plan(path: Path) -> Given:
    """Raises UsageError: it is none, or one that does not fit."""
    found = decoded(read_file(path), f"{path} is not what `unfrag plan --json` prints: it", Given)
    if found.fits is False:
        raise UsageError(f"{path} is a plan that does not fit: nothing was changed")
    if not found.flags:
        raise UsageError(f"{path} sets no flags")
    return found


def kv_tokens(pool: Pool, before: dict[str, str | None], after: dict[str, str | None]) -> int | None:
    """Tokens that the cache of one rank will hold with the flags ``after``; None where only a start can tell.

    The bytes of the cache stay what they are, or are given by a flag; a block holds whole tokens.
    """
    held, size, tokens = pool.capacity_bytes, pool.block_size_bytes, pool.block_size_tokens
    widths = [BYTES_OF_DTYPE.get(flags.get("--kv-cache-dtype") or "auto") for flags in (before, after)]
    if not held or not size or not tokens or widths[0] is None or widths[1] is None:
        return None
    token_bytes = size / tokens * widths[1] / widths[0]
    block = _whole(after.get("--block-size")) or tokens
    override, given = _whole(after.get("--num-gpu-blocks-override")), after.get("--kv-cache-memory-bytes")
    if override is not None:
        return (override - 1) * block
    if given is not None:
        try:
            held = read_size(given)
        except ValueError:
            return None
    elif any(before.get(flag) != after.get(flag) for flag in _MOVE_BYTES):
        return None
    return (int(held // (token_bytes * block)) - 1) * block


def shortfall(pool: Pool | None, expected: int) -> str | None:
    """What is wrong with the cache that came up, when it holds clearly less than was expected."""
    held = pool.capacity_tokens if pool is not None else None
    if held is None:
        return None  # a server without the plugin does not say
    if held >= expected * (1 - TOLERANCE):
        return None
    return f"the KV cache holds {held:,} tokens where {expected:,} were expected"


def costs(flags: dict[str, str | None]) -> list[str]:
    """What the flags that are set cost, a line each."""
    known = resources.table("unfrag.plan", "levers.toml")
    found = {flag: known[name]["cost"] for flag in flags if (name := flag.removeprefix("--")) in known}
    if BYTES_OF_DTYPE.get(flags.get("--kv-cache-dtype") or "auto") == 2:
        found["--kv-cache-dtype"] = "16 bits are what auto gives a 16-bit model: it saves nothing"
    return [f"{flag}: {cost}" for flag, cost in found.items() if flag in flags]


def _whole(value: str | None) -> int | None:
    return int(value) if value is not None and value.isdecimal() else None
