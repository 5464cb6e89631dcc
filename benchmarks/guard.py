"""What `unfrag guard` costs: memory, and CPU as a share of one core, with one live server and with a fleet.

Real guards, each a process of its own on one core, on a real rig. CPU of a poll is measured at a shorter interval (with
as many diagnoses to a poll as by default) and counted for polls 30 s apart. The fleet is many names of the one server,
so every poll is a real one. Prints JSON.

    python benchmarks/guard.py [--looks 120] [--targets 200] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from unfrag.guard.policy import Policy
from unfrag.rig.server import Rig

INTERVAL = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--looks", type=int, default=120)
    parser.add_argument("--targets", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    with Rig({"--block-size": "32", "--num-gpu-blocks-override": "257"}) as rig:
        rig.wait_ready()
        one = [_one(rig, args.polls) for _ in range(args.repeats)]
        many = [_many(rig, args.targets) for _ in range(args.repeats)]
    polls_a_minute = 60 / Policy().interval
    shares = [cpu * polls_a_minute / 60 for cpu, _ in one]
    print(
        json.dumps(
            {
                "one_target": {
                    "cpu_seconds_a_poll": _spread([cpu for cpu, _ in one]),
                    "share_of_a_core_at_30_s": _spread(shares),
                    "resident_mib": _spread([rss / 2**20 for _, rss in one]),
                },
                f"{args.targets}_targets_on_one_core": {
                    "cpu_seconds_a_round": _spread([cpu for cpu, _ in many]),
                    "resident_mib": _spread([rss / 2**20 for _, rss in many]),
                    "cycle_seconds": Policy().interval,
                },
            },
            indent=1,
        )
    )


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 4), "low": round(min(values), 4), "high": round(max(values), 4)}


def _one(rig: Rig, polls: int) -> tuple[float, int]:
    """(CPU seconds of a poll, bytes resident at the end)."""
    with tempfile.TemporaryDirectory() as folder:
        place = ["--config", str(rig.config), "--server", rig.server]
        guard, process = _start(Path(folder), INTERVAL, place, 1)
        try:
            begun = process.cpu_times()
            _after(process, polls * INTERVAL)
            spent = process.cpu_times()
            return _cpu(spent) / polls - _cpu(begun) / polls, process.memory_info().rss
        finally:
            guard.terminate()
            guard.wait()


def _many(rig: Rig, targets: int) -> tuple[float, int]:
    """(CPU seconds of one round of all targets, bytes resident at the end), on one core."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "targets.json"
        file.write_text(json.dumps([{"url": rig.url, "name": f"server-{n}"} for n in range(targets)]))
        guard, process = _start(Path(folder), Policy().interval, ["--targets", str(file)], targets)
        try:
            begun = process.cpu_times()
            _after(process, 2 * Policy().interval)
            return (_cpu(process.cpu_times()) - _cpu(begun)) / 2, process.memory_info().rss
        finally:
            guard.terminate()
            guard.wait()


def _start(
    folder: Path, interval: float, words: list[str], targets: int
) -> tuple[subprocess.Popen[bytes], psutil.Process]:
    """A guard after its first poll of each of its targets."""
    policy = folder / "policy.toml"
    doctor = Policy().doctor_seconds / Policy().interval * interval
    policy.write_text(f'interval = {interval}\nnightly = ""\ndoctor_seconds = {doctor}\n')
    command = [sys.executable, "-m", "unfrag", "guard", "--policy", str(policy), "--log", str(folder / "log"), *words]
    guard = subprocess.Popen(command, env={**os.environ, "UNFRAG_STATE": str(folder)})
    process = psutil.Process(guard.pid)
    process.cpu_affinity([process.cpu_affinity()[0]])
    deadline = time.monotonic() + 60
    while len(list((folder / "guard").glob("*.json"))) < targets:
        if time.monotonic() > deadline or guard.poll() is not None:
            raise SystemExit("the guard did not look at all of its targets")
        time.sleep(0.1)
    return guard, process


def _after(process: psutil.Process, seconds: float) -> None:
    try:
        process.wait(seconds)
    except psutil.TimeoutExpired:
        return
    raise SystemExit("the guard ended by itself")


def _cpu(times: object) -> float:
    return times.user + times.system  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
