"""How long the doctor takes: a live server, ``--help``, and a log of 1 GiB against ``grep`` on the same file.

The log is made of lines as vLLM prints them: starts, load lines, access lines, some errors. ``grep`` counts what the
guide greps for. Both read the same file in turn, in the same run; prints JSON with medians and ranges.

    python benchmarks/diagnose_speed.py [--gib 1.0] [--rounds 3] [--skip-live]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_START = """\
(APIServer pid=1) INFO 11-22 09:00:00 [api_server.py:1351] vLLM API server version 0.32.0
(EngineCore pid=77) INFO 11-22 09:00:20 [gpu_model_runner.py:5150] Model loading took 55.8 GiB memory and 41.2 seconds
(EngineCore pid=77) INFO 11-22 09:00:50 [gpu_worker.py:760] Available KV cache memory: 12.11 GiB
(EngineCore pid=77) INFO 11-22 09:00:50 [kv_cache_utils.py:2328] GPU KV cache size: 240,112 tokens
(APIServer pid=1) INFO:     Application startup complete.
"""
_PATTERN = "(allocating|block|OOM)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip-live", action="store_true")
    args = parser.parse_args()
    report: dict[str, object] = {"help_seconds": _spread([_timed([*_unfrag(), "--help"])[0] for _ in range(10)])}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.txt"
        _write(log, int(args.gib * 2**30))
        _timed(["grep", "-cE", _PATTERN, str(log)])  # the file is now in memory for both
        greps, doctors, peaks = [], [], []
        for _ in range(args.rounds):
            greps.append(_timed(["grep", "-cE", _PATTERN, str(log)])[0])
            seconds, peak = _timed([*_unfrag(), "diagnose", "--evidence", folder, "--json"])
            doctors.append(seconds)
            peaks.append(peak)
        ratios = [doctor / grep for doctor, grep in zip(doctors, greps, strict=True)]
        report["log"] = {
            "bytes": log.stat().st_size,
            "grep_seconds": _spread(greps),
            "diagnose_seconds": _spread(doctors),
            "ratio": _spread(ratios),
            "diagnose_peak_bytes": max(peaks),
        }
    if not args.skip_live:
        report["live_seconds"] = _live()
    print(json.dumps(report, indent=1))


def _live() -> dict[str, float]:
    from unfrag.rig.server import Rig

    with Rig({"--block-size": "32", "--num-gpu-blocks-override": "257"}) as rig:
        rig.wait_ready()
        target = ["--url", rig.url, "--log", str(rig.log), "--config", str(rig.config)]
        command = [*_unfrag(), "diagnose", *target, "--json"]
        return _spread([_timed(command)[0] for _ in range(10)])


def _unfrag() -> list[str]:
    return [str(Path(sys.executable).with_name("unfrag"))]


def _timed(command: list[str]) -> tuple[float, int]:
    """(seconds, peak memory in bytes) of one process."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as out:  # grep stops at the first match when it sees /dev/null
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        _, _, usage = os.wait4(process.pid, 0)
    return time.monotonic() - started, usage.ru_maxrss * 1024


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def _write(path: Path, size: int) -> None:
    """Starts, then hours of traffic: one load line for twenty requests, one line in ten thousand worth a look."""
    rng = random.Random(0)
    with path.open("w") as out:
        out.write(_START)
        written = len(_START)
        while written < size:
            lines = [_line(rng) for _ in range(20_000)]
            text = "".join(lines)
            for _ in range(20):
                out.write(text)
                written += len(text)
                if written >= size:
                    break


def _line(rng: random.Random) -> str:
    kind = rng.random()
    second = f"11-22 {rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}"
    if kind < 0.05:
        return (
            f"(APIServer pid=1) INFO {second} [loggers.py:329] Engine 000: "
            f"Avg prompt throughput: {rng.random() * 9000:.1f} tokens/s, "
            f"Avg generation throughput: {rng.random() * 900:.1f} tokens/s, Running: {rng.randrange(40)} reqs, "
            f"Waiting: 0 reqs, GPU KV cache usage: {rng.random() * 90:.1f}%, Prefix cache hit rate: 41.2%\n"
        )
    if kind < 0.06:
        return f"(EngineCore pid=77) DEBUG {second} [block_pool.py:690] allocating {rng.randrange(99)} blocks\n"
    if kind < 0.0601:
        request = f"cmpl-{rng.randrange(1 << 30):x}"
        return f"(EngineCore pid=77) WARNING {second} [scheduler.py:901] Request {request} was preempted\n"
    address = f"10.0.{rng.randrange(256)}.{rng.randrange(256)}:{rng.randrange(30_000, 60_000)}"
    return f'(APIServer pid=1) INFO:     {address} - "POST /v1/chat/completions HTTP/1.1" 200 OK\n'


if __name__ == "__main__":
    main()
