"""Drop a server's cached KV blocks, give unused memory back, move blocks together. Harms no running request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.commands.options import add_dry_run, add_json
from unfrag.commands.target import add_target, url

if TYPE_CHECKING:
    import argparse

NAME = "flush"
EXAMPLES = """\
  unfrag flush --dry-run
  unfrag flush
  unfrag flush --config /etc/supervisor/conf.d/glm47flash.conf
  unfrag flush --only compact
"""

_SHOWN = ("cached_blocks", "free_blocks", "largest_free_block", "fragmentation_ratio")
_SECONDS = 120.0
_PARTS = ("cached", "allocator", "compact")


def prepare(parser: argparse.ArgumentParser) -> None:
    add_target(parser)
    parser.add_argument("--only", choices=_PARTS, help="do only one of the three")
    add_dry_run(parser, "what there is to flush")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from unfrag.errors import NotEnoughEvidence
    from unfrag.facts.memory_stats import Pool
    from unfrag.reports import out, print_json
    from unfrag.server.client import Server, other_scheme

    address = url(args)
    with Server(address) as server:
        pool = server.pool()
        if not isinstance(pool, Pool):
            raise NotEnoughEvidence(f"{address}: {pool.why}{other_scheme(address)}")
        if args.dry_run:
            drops = pool.cached_blocks if args.only in (None, "cached") else 0
            scattered = pool.free_blocks - pool.largest_free_block
            if args.json:
                found = {"would_drop_blocks": drops, "pinned_blocks": pool.pinned_blocks, "scattered_blocks": scattered}
                print_json({"schema_version": 1, **found})
            else:
                moved = "may move" if args.only in (None, "compact") else "stay where they are"
                out().print(
                    f"would drop {drops} cached blocks; {pool.pinned_blocks} in use keep their contents and {moved}; "
                    f"{scattered} of {pool.free_blocks} free ones lie outside the largest run"
                )
            return 0
        # Without --only the server decides whether giving memory back is safe.
        wanted = {} if args.only is None else {part: args.only == part for part in _PARTS}
        result = server.flush(_SECONDS, wanted)
    try:
        lines = [f"{name:20} {_number(result['before'][name])} -> {_number(result['after'][name])}" for name in _SHOWN]
        lines += _kept(result.get("released"))
        lines += _compaction(result.get("compaction"))
        lines.append(f"in {result['seconds'] * 1000:.0f} ms")
    except (ValueError, LookupError, TypeError) as fault:
        raise NotEnoughEvidence(f"{address}: /flush_cache does not answer as unfrag's plugin does") from fault
    if args.json:
        print_json({"schema_version": 1, **result})
        return 0
    out().print("\n".join(lines))
    return 0


def _number(value: float) -> str:
    return f"{value:>8.3f}" if isinstance(value, float) else f"{value:>8}"


def _kept(released: Any) -> list[str]:
    """Why ranks did not give allocator memory back, each reason once."""
    reasons = {rank["released"] for rank in released or () if isinstance(rank["released"], str)}
    return [f"allocator memory was kept: {why}" for why in sorted(reasons)]


def _compaction(done: Any) -> list[str]:
    """What was moved in each engine, and why not more."""
    lines = []
    for engine in done if isinstance(done, list) else [done]:
        if engine is not None:
            lines.append(f"moved {engine['live']} blocks in use and {engine['cached']} cached ones")
            if engine["why"]:
                lines.append(f"nothing more is moved: {engine['why']}")
    return lines
