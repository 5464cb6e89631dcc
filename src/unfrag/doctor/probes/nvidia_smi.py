"""``nvidia-smi`` text, live or pasted, in each of its shapes: CSV queries, the boxed table, ``-q``.

Guides ask for ``device_uuid``, which is no field of nvidia-smi (``gpu_uuid`` is): pasted text with either is read.
Text may hold several looks at the same cards, one after the other; the earlier ones become each card's history.
"""

from __future__ import annotations

import csv
import re
import shutil
import subprocess

import msgspec

from unfrag.facts.snapshot import Gpu, GpuProcess, Gpus
from unfrag.facts.values import Unknown
from unfrag.units import MIB, scale

_UUID = re.compile(r"^(GPU|MIG)-[0-9a-fA-F-]{4,}$")
_AMOUNT = re.compile(r"^([0-9][0-9.,]*)\s*(MiB|MB|GiB|GB|KiB|B)?$")
_TIMEOUT_SECONDS = 5.0
_MOST_LINES = 100_000
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\0")
_NAMES = {"device_uuid": "gpu_uuid", "container": "process_name", "used": "used_memory"}
_HEADER = ("pid", "index", "gpu", "name", "uuid", "gpu_uuid", "gpu_name", "gpu_bus_id", "timestamp", "pci.bus_id")
_BOX_GPU = re.compile(r"^\|\s*(\d+)\s+(\S.*?)\s+(?:On|Off|N/A)\s*\|\s*[0-9A-Fa-f]+:[0-9A-Fa-f]+:[0-9A-Fa-f.]+\s")
_BOX_MEMORY = re.compile(r"\|\s*([0-9.]+\s?[MG]iB)\s*/\s*([0-9.]+\s?[MG]iB)\s*\|")
_BOX_PROCESS = re.compile(
    r"^\|\s+(\d+)\s+(?:(?:N/A|\d+)\s+(?:N/A|\d+)\s+)?(\d+|-)\s+(?:C\+G|M\+C|C|G)\s+(\S.*?)\s+([0-9.]+\s?[MG]iB|N/A|-)?\s*\|"
)
_Q_SECTION = re.compile(r"^\s*(FB Memory Usage|BAR1 Memory Usage|Conf Compute|Processes|ECC Errors|MIG Mode)\b")
_Q_FIELD = re.compile(r"^\s*([A-Za-z][\w .()/-]*?)\s*:\s*(.*?)\s*$")


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
    """Whatever shapes the text holds. Lines of any other kind are passed over."""
    lines = [line for line in _ANSI.sub("", text).splitlines() if line][:_MOST_LINES]
    reader = _Reader()
    details = _Details(reader)
    for line in lines:
        if line.lstrip().startswith("|") or line.lstrip().startswith("+"):
            reader.boxed(line.strip())
        elif not details.take(line):
            reader.comma(line)
    details.end()
    if not reader.gpus and not reader.processes:
        return Unknown("no line of the nvidia-smi text was understood")
    listed = reader.lists_processes or bool(reader.processes)
    return Gpus(tuple(reader.gpus.values()), tuple(reader.processes), "nvidia-smi", listed)


class _Reader:
    def __init__(self) -> None:
        self.gpus: dict[int, Gpu] = {}
        self.processes: list[GpuProcess] = []
        self.lists_processes = False
        self._header: list[str] = []
        self._box: tuple[int, str] | None = None

    def gpu(self, gpu: Gpu) -> None:
        """A look at one card; an earlier look becomes its history. More in use than there is cannot be: unknown."""
        if gpu.used_bytes is not None and gpu.total_bytes is not None and gpu.used_bytes > gpu.total_bytes:
            gpu = msgspec.structs.replace(gpu, used_bytes=None)
        earlier = self.gpus.get(gpu.index)
        if earlier is not None:
            past = (*earlier.history, *([earlier.used_bytes] if earlier.used_bytes is not None else []))[-500:]
            gpu = msgspec.structs.replace(
                gpu, history=past, name=gpu.name or earlier.name, uuid=gpu.uuid or earlier.uuid
            )
            self.processes = [p for p in self.processes if p.gpu_index != gpu.index]
        self.gpus[gpu.index] = gpu

    def boxed(self, line: str) -> None:
        """One line of the table that nvidia-smi prints by default."""
        self.lists_processes = self.lists_processes or "Processes:" in line
        if found := _BOX_GPU.match(line):
            self._box = int(found[1]) % 10_000, found[2].strip()
            return
        if self._box and (found := _BOX_MEMORY.search(line)):
            index, name = self._box
            self.gpu(Gpu(index, None, name, amount(found[2]), amount(found[1]), mig="Enabled" in line or None))
            self._box = None
        elif found := _BOX_PROCESS.match(line):
            pid = int(found[2]) if found[2].isdecimal() and len(found[2]) < 10 else 0
            self.processes.append(
                GpuProcess(pid, amount(found[4] or ""), None, found[3][:120], gpu_index=int(found[1]) % 10_000)
            )

    def comma(self, line: str) -> None:
        """One line of CSV, of a query of cards or of processes, with or without a header and units."""
        try:
            row = next(csv.reader([line[:4000]], skipinitialspace=True), [])
        except csv.Error:
            return
        cells = [cell.strip() for cell in row]
        names = [_NAMES.get(name, name) for name in (re.sub(r"(?<!\s)\s*\[.*", "", cell) for cell in cells)]
        if len(names) > 1 and names[0] in (*_HEADER, "memory.total", "memory.used", "used_memory", "process_name"):
            self._header = names
            self.lists_processes = self.lists_processes or "pid" in names
        elif len(cells) >= 2:
            self._row(dict(zip(self._header, cells, strict=False)) if self._header else _guess(cells))

    def _row(self, row: dict[str, str]) -> None:
        uuid = row.get("gpu_uuid") or row.get("uuid")
        index = row.get("index", row.get("gpu", ""))
        number = int(index) if index.isdecimal() and len(index) < 5 else None
        if "pid" in row:
            pid, used = row["pid"], amount(row.get("used_memory") or row.get("used_gpu_memory") or "")
            if used is None and not pid.isdecimal():
                return
            name = row.get("process_name") or row.get("name")
            known = int(pid) if pid.isdecimal() and len(pid) < 10 else 0
            self.processes.append(GpuProcess(known, used, uuid, name, gpu_index=number))
        elif "memory.total" in row or "memory.used" in row:
            total, used = amount(row.get("memory.total", "")), amount(row.get("memory.used", ""))
            if total is None and used is None:
                return
            if used is None and total is not None and (free := amount(row.get("memory.free", ""))) is not None:
                used = total - free
            if number is None:
                known_as = next((i for i, gpu in self.gpus.items() if uuid and gpu.uuid == uuid), None)
                number = len(self.gpus) if known_as is None else known_as
            self.gpu(Gpu(number, uuid, row.get("name") or row.get("gpu_name"), total, used))


def _guess(cells: list[str]) -> dict[str, str]:
    """Without a header: the article's query is ``pid, used_memory[, uuid]``; a query of cards names the card."""
    uuid = next((cell for cell in cells if _UUID.match(cell)), None)
    rest = [cell for cell in cells if cell != uuid]
    amounts = [cell for cell in rest if amount(cell) is not None and not cell.isdecimal()]
    if len(amounts) >= 2 and rest[0].isdecimal():
        bytes_ = sorted((amount(cell) or 0, cell) for cell in amounts[:2])
        name = next((cell for cell in rest[1:] if cell not in amounts), "")
        return {"index": rest[0], "name": name, "memory.used": bytes_[0][1], "memory.total": bytes_[1][1]}
    if len(rest) >= 2 and rest[0].isdecimal():
        used = next((cell for cell in rest[1:] if amount(cell) is not None), None)
        if used is not None:
            names = [cell for cell in rest[1:] if cell != used]
            row = {"pid": rest[0], "used_memory": used} | ({"process_name": names[0]} if names else {})
            return row | ({"gpu_uuid": uuid} if uuid else {})
    return {}


class _Details:
    """``nvidia-smi -q``: indented ``name : value`` lines under section names."""

    def __init__(self, reader: _Reader) -> None:
        self._reader, self._section, self._inside = reader, "", False
        self._card: dict[str, str] = {}
        self._process: dict[str, str] = {}
        self._seen = 0

    def take(self, line: str) -> bool:
        if re.match(r"^GPU [0-9A-Fa-f]{4,}:[0-9A-Fa-f]+:[0-9A-Fa-f.]+\s*$", line):
            self.end()
            self._inside, self._section, self._card = True, "", {}
            return True
        if not self._inside:
            return False
        if found := _Q_SECTION.match(line):
            self._section = found[1]
            self._reader.lists_processes = self._reader.lists_processes or found[1] == "Processes"
        if found := _Q_FIELD.match(line):
            self._field(found[1], found[2])
        elif line.strip() and not line.startswith("        ") and not _Q_SECTION.match(line):
            self._section = line.strip()
        return True

    def _field(self, name: str, value: str) -> None:
        if name in ("Process ID", "GPU instance ID") and self._section == "Processes":
            if name == "Process ID":
                self._flush_process()
                self._process = {"pid": value}
        elif self._process and name in ("Name", "Used GPU Memory", "Type"):
            self._process[name] = value
        elif name in ("Product Name", "GPU UUID", "Minor Number"):
            self._card[name] = value
        elif self._section == "FB Memory Usage" and name in ("Total", "Used", "Reserved", "Free"):
            self._card.setdefault(name, value)
        elif self._section == "MIG Mode" and name == "Current":
            self._card["mig"] = value
        elif self._section == "ECC Errors" and "Uncorrectable" in name and value.isdecimal():
            self._card["ecc"] = str(max(int(value[:9]), int(self._card.get("ecc", "0"))))

    def _flush_process(self) -> None:
        if self._process:
            pid = self._process.get("pid", "")
            known = int(pid) if pid.isdecimal() and len(pid) < 10 else 0
            used = amount(self._process.get("Used GPU Memory", ""))
            uuid = self._card.get("GPU UUID")
            self._reader.processes.append(
                GpuProcess(known, used, uuid, self._process.get("Name"), gpu_index=self._seen)
            )
        self._process = {}

    def end(self) -> None:
        """Hand over the card that was being read."""
        self._flush_process()
        card = self._card
        if self._inside and ("Total" in card or "Used" in card):
            used, reserved = amount(card.get("Used", "")), amount(card.get("Reserved", "")) or 0
            total = amount(card.get("Total", ""))
            ecc = int(card["ecc"]) if "ecc" in card else None
            mig = card["mig"] == "Enabled" if "mig" in card else None
            used_all = None if used is None else used + reserved
            uuid, name = card.get("GPU UUID"), card.get("Product Name")
            self._reader.gpus[self._seen] = Gpu(self._seen, uuid, name, total, used_all, mig, ecc)
            self._seen += 1
        self._card = {}


def amount(cell: str) -> int | None:
    """``"66601 MiB"`` in bytes; a bare number is MiB, as nvidia-smi's ``nounits`` prints it."""
    found = _AMOUNT.match(cell.strip()) if len(cell) < 24 else None
    if found is None:
        return None
    try:
        return int(float(found[1].replace(",", "")) * (scale(found[2] or "MiB") or MIB))
    except ValueError:
        return None
