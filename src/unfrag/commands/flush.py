"""Drop a server's evictable cached KV blocks and give unused memory back. Harms no running request."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

NAME = "flush"
EXAMPLES = """\
  unfrag flush --dry-run
  unfrag flush
  unfrag flush --only allocator
"""

_SHOWN = ("cached_blocks", "free_blocks", "largest_free_block")


def prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the server (default: %(default)s)")
    parser.add_argument("--only", choices=("cached", "allocator"), help="do only one of the two")
    parser.add_argument("--dry-run", action="store_true", help="show what there is to flush")
    parser.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    import httpx

    from unfrag.errors import NotEnoughEvidence
    from unfrag.facts import Pool
    from unfrag.probes import http
    from unfrag.reports import out, print_json

    with http.client(args.url) as server:
        pool = http.read_pool(server)
        if not isinstance(pool, Pool):
            raise NotEnoughEvidence(f"{args.url}: {pool.why}")
        if args.dry_run:
            drops = 0 if args.only == "allocator" else pool.cached_blocks
            if args.json:
                print_json({"schema_version": 1, "would_drop_blocks": drops, "pinned_blocks": pool.pinned_blocks})
            else:
                out().print(f"would drop {drops} cached blocks; {pool.pinned_blocks} in use stay as they are")
            return 0
        wanted = {"cached": args.only != "allocator", "allocator": args.only != "cached"}
        token = os.environ.get("UNFRAG_TOKEN")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            answer = server.post("/flush_cache", params=wanted, headers=headers, timeout=120.0)
        except httpx.HTTPError as fault:
            raise NotEnoughEvidence(
                f"{args.url}: /flush_cache did not answer ({fault or type(fault).__name__})"
            ) from fault
    if answer.is_error:
        raise NotEnoughEvidence(f"{args.url}: /flush_cache answers {answer.status_code}: {answer.text[:200]}")
    try:
        result = answer.json()
        lines = [f"{name:20} {result['before'][name]:>8} -> {result['after'][name]}" for name in _SHOWN]
        lines.append(f"in {result['seconds'] * 1000:.0f} ms")
    except (ValueError, LookupError, TypeError) as fault:
        raise NotEnoughEvidence(f"{args.url}: /flush_cache does not answer as unfrag's plugin does") from fault
    if args.json:
        print_json({"schema_version": 1, **result})
        return 0
    out().print("\n".join(lines))
    return 0
