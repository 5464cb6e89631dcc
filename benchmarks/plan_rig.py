"""The planner's blocks and tokens against what real vLLM prints, on the rig: blocks, KV types, lengths, ranks, MLA.

Every configuration is a start of the server (15 to 60 s each). Prints JSON: predicted and printed, and whether equal.

    python benchmarks/plan_rig.py
"""

from __future__ import annotations

import json
import re

import msgspec

from unfrag.plan import architecture, kv
from unfrag.rig.model import ensure_model
from unfrag.rig.server import Rig

_POOL = 1 << 30  # VLLM_CPU_KVCACHE_SPACE of the rig
_MLA_BLOCK = 16  # vLLM's CPU platform gives MLA blocks of 16, whatever is asked
_RUNS = [
    *[(block, dtype, 8192, 1, False) for block in (32, 64, 128) for dtype in ("auto", "fp8")],
    (32, "auto", 2048, 1, False),
    (64, "auto", 1000, 1, False),
    (96, "fp8", 4096, 1, False),
    (32, "auto", 4096, 2, False),
    (64, "fp8", 4096, 2, False),
    (_MLA_BLOCK, "auto", 4096, 1, True),
]


def main() -> None:
    config = json.loads((ensure_model() / "config.json").read_text())
    latent = architecture.read(config)
    ordinary = msgspec.structs.replace(latent, kv_lora=None, head_dim=latent.nope + latent.rope)
    rows = []
    for block, dtype, length, ranks, mla in _RUNS:
        flags: dict[str, str | None] = {"--max-model-len": str(length)}
        if not mla:
            flags["--block-size"] = str(block)
        if dtype != "auto":
            flags["--kv-cache-dtype"] = dtype
        with Rig(flags, env={"VLLM_MLA_DISABLE": "0"} if mla else {}, ranks=ranks) as rig:
            rig.wait_ready()
            log = rig.log.read_text()
        printed = re.search(r"KV cache size: ([\d,]+) tokens", log)
        times = re.search(r"per request: ([\d.]+)x", log)
        assert printed is not None
        assert times is not None
        cache = kv.cache(latent if mla else ordinary, ranks, kv_dtype=dtype, block_tokens=block)
        assert cache is not None
        blocks = cache.blocks(_POOL)
        concurrency = blocks / cache.blocks_of_request(length, 2048, None)
        tokens = cache.tokens(blocks, length, concurrency, (0, 32))
        said = int(printed[1].replace(",", ""))
        rows.append(
            {
                "run": {"block": block, "kv": dtype, "length": length, "ranks": ranks, "mla": mla},
                "predicted": [blocks, tokens, round(concurrency, 2)],
                "printed": [said, float(times[1])],
                "equal": tokens == said and round(concurrency, 2) == float(times[1]),
            }
        )
    print(json.dumps({"equal": sum(row["equal"] for row in rows), "of": len(rows), "runs": rows}, indent=1))


if __name__ == "__main__":
    main()
