"""Ask every probe, each within its own time, and put what they say into one Snapshot. Nothing is changed."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from unfrag.doctor.probes import allocator, host, isolation, launch, log, nvidia_smi, nvml, series
from unfrag.errors import UsageError
from unfrag.facts.log import Log
from unfrag.facts.memory_stats import Pool
from unfrag.facts.snapshot import Gpus, Isolation, Launch, Metrics, Snapshot
from unfrag.facts.values import NO_ANSWER, NOT_GIVEN, Unknown
from unfrag.server import health, metrics
from unfrag.system.decode import decoded
from unfrag.system.network import is_here
from unfrag.units import read_count

if TYPE_CHECKING:
    from unfrag.server.client import Server

_NOT_GIVEN = Unknown(NOT_GIVEN)
# A reading of the engine this old is compared with one made so much later.
_OLD_SECONDS, _APART_SECONDS = 5.0, 2.0
_LARGEST_TEXT = 8 << 20
_LONGEST_WORDS = 2000  # characters of what context.json says of one thing


class Asked(msgspec.Struct, frozen=True):
    """Where a live server is to be looked for."""

    url: str
    log: Path | Unknown | None = None
    allocator: Path | None = None
    expected_cards: int | None = None
    otherwise: str | None = None
    """What this is a snapshot of when no server answers, if not of the URL."""
    launch: Launch | Unknown | None = None
    """How the server is started, where that is known; else its process is looked for."""


def live(asked: Asked) -> Snapshot:
    """A running server, and its machine when it is this one. Probes run side by side."""
    from unfrag.server.client import address

    address(asked.url)
    here = is_here(asked.url)
    elsewhere = Unknown(f"{asked.url} is on another machine: run unfrag there for its cards and memory")
    with ThreadPoolExecutor(5) as pool:
        server = pool.submit(_server, asked.url)
        cards = pool.submit(lambda: _cards() if here else elsewhere)
        machine = pool.submit(lambda: host.read() if here else elsewhere)
        text = pool.submit(log.read, asked.log) if isinstance(asked.log, Path) else None
        started = pool.submit(_launch, asked)
        engine, version, model, longest, memory, metrics = server.result()
        gpus, machine_facts, line = cards.result(), machine.result(), started.result()
        missing = asked.log if isinstance(asked.log, Unknown) else Unknown("give the server's log with --log")
        said = text.result() if text else missing
    visible = len(gpus.gpus) if isinstance(gpus, Gpus) else None
    silent = isinstance(memory, Unknown) and isinstance(metrics, Unknown)
    return Snapshot(
        target=(asked.otherwise if silent else None) or asked.url,
        silent=silent,
        engine=engine,
        engine_version=version,
        model=model,
        max_model_len=longest,
        pool=memory,
        metrics=metrics,
        gpus=gpus,
        log=said,
        launch=line if isinstance(line, Launch) or not isinstance(said, Log) else launch.of_log(said),
        cards=_NOT_GIVEN,
        notes=_NOT_GIVEN,
        series=_NOT_GIVEN,
        host=machine_facts,
        isolation=isolation.read(asked.expected_cards, visible) if here else elsewhere,
        allocator=allocator.read(asked.allocator) if asked.allocator else _NOT_GIVEN,
    )


def _server(
    url: str,
) -> tuple[str | Unknown, str | Unknown, str | Unknown, int | Unknown, Pool | Unknown, Metrics | Unknown]:
    """(engine, version, model, longest, pool, metrics). What does not answer one question in time is not asked more."""
    from unfrag.server.client import Server  # a diagnosis of pasted text needs no client

    with Server(url) as server:
        version = server.version()
        if isinstance(version, Unknown) and version.why.startswith(NO_ANSWER):
            return version, version, version, version, version, version
        return server.engine(), version, *server.model(), _pool(server), server.metrics()


def _pool(server: Server) -> Pool | Unknown:
    """The pool as it is now. An old reading is read again a moment later: one alone does not tell busy from stuck."""
    found = server.pool()
    if not isinstance(found, Pool) or (found.age_seconds or 0.0) < _OLD_SECONDS:
        return found
    time.sleep(_APART_SECONDS)
    return server.pool()


def _cards() -> Gpus | Unknown:
    found = nvml.read()
    return nvidia_smi.read() if isinstance(found, Unknown) else found


def _launch(asked: Asked) -> Launch | Unknown:
    return asked.launch if asked.launch is not None else launch.of_server(asked.url)


def evidence(folder: Path) -> Snapshot:
    """A folder of pasted evidence; each file may be missing.

    ``log.txt, nvidia_smi.txt, metrics.txt, health.json, launch.txt, context.json``, and an allocator snapshot.
    Text that is not of the form its name says is read as a log is.
    """
    context, no_context = _context(folder / "context.json")
    names = ("nvidia_smi.txt", "metrics.txt", "health.json", "launch.txt")
    smi, exported, answered, line = (_text(folder / name) for name in names)
    gpus = smi if isinstance(smi, Unknown) else nvidia_smi.parse(smi)
    numbers = exported if isinstance(exported, Unknown) else metrics.parse(exported)
    said = log.read(_log_file(folder))
    started = line if isinstance(line, Unknown) else launch.of_text(line, "launch.txt")
    if isinstance(said, Log):
        started = _joined(started, launch.of_log(said))
    said_beside = metrics.remarks(exported) if isinstance(exported, str) else exported
    prose = [text for text in (said_beside, smi, line) if isinstance(text, str) and text.strip()]
    measured = [text for text in (exported, smi, line) if isinstance(text, str)]
    if isinstance(said, Log):
        measured.append(_head(_log_file(folder)))
    snapshot_file = next((folder / name for name in allocator.NAMES if (folder / name).exists()), None)
    return Snapshot(
        target=str(folder),
        engine=context.get("engine") or no_context,
        engine_version=context.get("engine_version") or no_context,
        model=context.get("model") or no_context,
        max_model_len=_longest(started),
        pool=answered if isinstance(answered, Unknown) else health.parse(answered.encode()),
        metrics=numbers,
        gpus=gpus,
        log=said,
        launch=started,
        cards=context.get("gpus") or no_context,
        notes=log.parse("\n".join(prose)) if prose else _NOT_GIVEN,
        series=series.read("\n".join(measured)) if measured else _NOT_GIVEN,
        host=_NOT_GIVEN,
        isolation=_expected(context.get("expected_cards"), gpus),
        allocator=allocator.read(snapshot_file) if snapshot_file else _NOT_GIVEN,
    )


def _longest(started: Launch | Unknown) -> int | Unknown:
    """The context that the launch line asks for."""
    if isinstance(started, Unknown):
        return _NOT_GIVEN
    try:
        return int(read_count(started.flags.get("--max-model-len") or ""))
    except (ValueError, OverflowError):
        return _NOT_GIVEN


def _joined(pasted: Launch | Unknown, printed: Launch | Unknown) -> Launch | Unknown:
    """What was pasted, and beneath it what the server printed of itself."""
    if isinstance(pasted, Unknown) or isinstance(printed, Unknown):
        return printed if isinstance(pasted, Unknown) and not isinstance(printed, Unknown) else pasted
    return Launch(pasted.command, {**printed.flags, **pasted.flags}, pasted.source, {**printed.env, **pasted.env})


def _expected(cards: str | None, gpus: Gpus | Unknown) -> Isolation | Unknown:
    if cards is None or not cards.isdecimal():
        return _NOT_GIVEN
    return Isolation(expected=int(cards[:5]), visible=len(gpus.gpus) if isinstance(gpus, Gpus) else None)


def _log_file(folder: Path) -> Path:
    """log.txt, or the same compressed."""
    names = ("log.txt", "log.txt.gz", "log.txt.zst", "log.gz", "log.zst")
    return next((folder / name for name in names if (folder / name).exists()), folder / "log.txt")


def _head(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(1 << 18).decode("utf-8", "replace")
    except OSError:
        return ""


def _text(path: Path) -> str | Unknown:
    """A pasted file as text, UTF-16 as well."""
    try:
        if not path.is_file():
            return Unknown(f"no {path.name}" if not path.exists() else f"{path.name} is no regular file")
        with path.open("rb") as stream:
            raw = stream.read(_LARGEST_TEXT)
    except OSError as fault:
        return Unknown(f"{path}: {fault.strerror}")
    utf16 = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    return raw.decode("utf-16" if utf16 else "utf-8-sig", "replace")


def _context(path: Path) -> tuple[dict[str, str], Unknown]:
    """The texts in context.json (a list of texts as one), and why one that is not there is unknown."""
    text = _text(path)
    if isinstance(text, Unknown):
        return {}, _NOT_GIVEN
    try:
        raw = decoded(text, path.name, dict[str, object])
    except UsageError as fault:
        return {}, Unknown(str(fault))
    return {
        key: _said(value)[:_LONGEST_WORDS] for key, value in raw.items() if value not in (None, "", [], {})
    }, _NOT_GIVEN


def _said(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_said, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(inner)}" for key, inner in value.items())
    return str(value)
