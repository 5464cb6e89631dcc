"""``nvidia-smi`` text, live or pasted: ``--query-compute-apps`` and ``--query-gpu`` as CSV.

Guides ask for ``device_uuid``, which is no field of nvidia-smi (``gpu_uuid`` is): pasted text with either is read.
"""

from __future__ import annotations

import csv
import re
import shutil
import subprocess

from unfrag.facts import Gpu, GpuProcess, Gpus, Unknown

_MIB = 1024 * 1024
_UUID = re.compile(r"^(GPU|MIG)-[0-9a-fA-F-]{8,}$")
_NUMBER = re.compile(r"^([0-9.]+)\s*(MiB|MB)?$")
_APPS = ("pid", "used_memory", "gpu_uuid")
_TIMEOUT_SECONDS = 5.0


def read() -> Gpus | Unknown:
    """The article's query, with the field name corrected, on this machine."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Unknown("no nvidia-smi on this machine")
    query = [tool, "--query-compute-apps=pid,used_memory,gpu_uuid", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, timeout=_TIMEOUT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as fault:
        return Unknown(f"nvidia-smi: {fault}")
    if done.returncode != 0:
        return Unknown(
            f"nvidia-smi exits with {done.returncode}: {(done.stdout + done.stderr)[:200].decode(errors='replace')}"
        )
    return parse(done.stdout.decode("utf-8", "replace"))


def parse(text: str) -> Gpus | Unknown:
    """CSV of either query, with or without a header and units. Lines of any other kind are passed over."""
    header: list[str] = []
    gpus: list[Gpu] = []
    processes: list[GpuProcess] = []
    for row in csv.reader(text.replace("\0", "").splitlines(), skipinitialspace=True):
        cells = [cell.strip() for cell in row]
        names = [re.sub(r"\s*\[.*", "", cell).replace("device_uuid", "gpu_uuid") for cell in cells]
        if names and names[0] in ("pid", "index", "name", "uuid", "gpu_uuid", "memory.total", "memory.used"):
            header = names
        elif len(cells) >= 2:
            _take(dict(zip(header, cells, strict=False)) if header else _guess(cells), gpus, processes)
    if not gpus and not processes:
        return Unknown("no line of the nvidia-smi text was understood")
    return Gpus(tuple(gpus), tuple(processes), "nvidia-smi")


def _guess(cells: list[str]) -> dict[str, str]:
    """Without a header: the article's query is ``pid, used_memory[, uuid]``, in that order."""
    uuid = next((cell for cell in cells if _UUID.match(cell)), None)
    rest = [cell for cell in cells if cell != uuid]
    if len(rest) >= 2 and rest[0].isdecimal() and _bytes(rest[1]) is not None:
        return {"pid": rest[0], "used_memory": rest[1]} | ({"gpu_uuid": uuid} if uuid else {})
    return {}


def _take(row: dict[str, str], gpus: list[Gpu], processes: list[GpuProcess]) -> None:
    pid = row.get("pid", "")
    if pid.isdecimal() and len(pid) < 10:
        used = _bytes(row.get("used_memory") or row.get("used_gpu_memory") or "")
        processes.append(GpuProcess(int(pid), used, row.get("gpu_uuid"), row.get("process_name") or row.get("name")))
    elif "memory.total" in row or "memory.used" in row:
        index = row.get("index", "")
        gpus.append(
            Gpu(
                index=int(index) if index.isdecimal() and len(index) < 5 else len(gpus),
                uuid=row.get("uuid") or row.get("gpu_uuid"),
                name=row.get("name"),
                total_bytes=_bytes(row.get("memory.total", "")),
                used_bytes=_bytes(row.get("memory.used", "")),
            )
        )


def _bytes(cell: str) -> int | None:
    found = _NUMBER.match(cell)
    try:
        return int(float(found[1]) * _MIB) if found and len(cell) < 20 else None
    except ValueError:
        return None
