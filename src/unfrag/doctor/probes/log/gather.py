"""One pass over a log's chunks: find the lines that matter, keep a bounded number of what they say."""

from __future__ import annotations

import re
from collections import Counter, deque
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from ahocorasick_rs import BytesAhoCorasick, Implementation

from unfrag.doctor.probes.log import advice, frames, load, oom, prefix, terms, wrap
from unfrag.doctor.probes.log.messages import MESSAGES
from unfrag.doctor.probes.log.pattern import Compiled, compiled
from unfrag.facts.log import Event, Load, Log, Oom

if TYPE_CHECKING:
    from collections.abc import Iterable

_OOM_TRIGGERS = ("ried to allocate", "OutOfMemoryError", "out of memory")
_SERVING = (b'HTTP/1.1" 200',)
_OF_USERS = ("Received request", "prompt: '", '"messages":', "Generated response")  # what people ask is no evidence
_WITH_FRAMES = ("disk_full", "bare_oom", "moe_workspace", "cuda_invalid_argument")
_FAILURES = (
    "other_error",
    "engine_dead",
    "worker_died",
    "bare_oom",
    "unknown_argument",
    "invalid_argument",
    "no_module",
)
_KEEP_FIRST, _KEEP_LAST, _OOMS, _LOADS = 2, 16, 24, 240
_HITS_FIRST, _HITS_LAST = 16, 8  # of one trigger in one chunk: beyond that, lines are counted and not read
_TROUBLES_FIRST, _TROUBLES_LAST = 4, 2
_LINE = 4000
_SAMPLE = 1 << 20
_AHEAD_LINES, _AHEAD_CHARS = 14, 2500
_NEW_MESSAGE = re.compile(r"^\s*(?:DEBUG|INFO|WARNING|ERROR|CRITICAL|Traceback|\[\d{4}-\d\d-\d\d|\d{4}-\d\d-\d\d)")


class Places(NamedTuple):
    """Where to read in a chunk, in order: lines that may hold a known message, and beginnings of lines of trouble."""

    messages: list[tuple[int, int]]
    troubles: list[int]


@cache
def _table() -> tuple[BytesAhoCorasick, dict[int, list[Compiled]], frozenset[int], frozenset[int]]:
    """(automaton over all triggers, trigger -> its messages, triggers of load lines, of failed allocations).

    Triggers of trouble come last, and only the search of a chunk goes by them.
    """
    known = {t for m in MESSAGES for t in m.triggers} | {*load.TRIGGERS, *_OOM_TRIGGERS}
    triggers = sorted(known)
    number = {trigger: i for i, trigger in enumerate(triggers)}
    wanted: dict[int, list[Compiled]] = {}
    for message in MESSAGES:
        pattern = compiled(message)
        for trigger in message.triggers:
            wanted.setdefault(number[trigger], []).append(pattern)
    automaton = BytesAhoCorasick([t.encode() for t in (*triggers, *terms.TRIGGERS)], implementation=Implementation.DFA)
    return (
        automaton,
        wanted,
        frozenset(number[t] for t in load.TRIGGERS),
        frozenset(number[t] for t in _OOM_TRIGGERS),
    )


def places(chunk: bytes) -> Places:
    """Lines with a trigger. Of a trigger that is everywhere, the first and last few.

    Needs no state and lets other threads run meanwhile, so that chunks can be searched side by side.
    """
    automaton, wanted, of_load, of_oom = _table()
    by_trigger: dict[int, list[int]] = {}
    for which, start, _ in automaton.find_matches_as_indexes(chunk, overlapping=True):
        by_trigger.setdefault(which, []).append(start)
    messages: set[tuple[int, int]] = set()
    troubles: set[int] = set()
    for which, hits in by_trigger.items():
        is_known = which in wanted or which in of_load or which in of_oom
        first, last = (_HITS_FIRST, _HITS_LAST) if is_known else (_TROUBLES_FIRST, _TROUBLES_LAST)
        for at in hits if len(hits) <= first + last else hits[:first] + hits[-last:]:
            begins = chunk.rfind(b"\n", 0, at) + 1
            if is_known:
                end = chunk.find(b"\n", at)
                messages.add((begins, end if end >= 0 else len(chunk)))
            else:
                troubles.add(begins)
    return Places(sorted(messages), sorted(troubles))


class Gatherer:
    """Feed it chunks of whole lines, then ask for the :class:`Log`."""

    def __init__(self) -> None:
        self._automaton, self._wanted, self._of_load, self._of_oom = _table()
        self._size = 0
        self._life, self._ready, self._loaded, self._sized, self._failed = 0, False, False, False, False
        self._starts: set[tuple[str, str]] = set()
        self._first: dict[str, list[tuple[int, Event]]] = {}
        self._late: dict[str, deque[tuple[int, Event]]] = {}
        self._counts: Counter[str] = Counter()
        self._ooms: deque[Oom] = deque(maxlen=_OOMS)
        self._loads: deque[Load] = deque(maxlen=_LOADS)
        self._order = 0
        self._before = b""
        self._width: int | None = None
        self._last = b""
        self._troubles = terms.Troubles()

    def straighten(self, chunk: bytes) -> bytes:
        """The chunk with the lines that a terminal broke put together; the first one decides."""
        if self._width is None:
            self._width = wrap.width(chunk[:_SAMPLE])
        return wrap.undo(chunk, self._width) if self._width else chunk

    def feed(self, chunk: bytes, where: Places) -> None:
        """Read one straight chunk of whole lines at its :func:`places`."""
        self._size += len(chunk)
        serving = min((at for at in map(chunk.find, _SERVING) if at >= 0), default=-1)
        self._troubles.see(chunk)
        for start in where.troubles:
            self._troubles.add(chunk, start)
        for start, end in where.messages:
            if 0 <= serving < start:
                self._serves()
                serving = -1
            self._read(chunk, start, end)
        if serving >= 0:
            self._serves()
        self._before = chunk[-frames.BACK_BYTES :]
        if last := chunk[-_LINE:].strip():
            self._last = last

    def _serves(self) -> None:
        """Requests are answered. By another server, where this life has failed before it was ready."""
        self._ready = self._ready or not self._failed

    def _read(self, chunk: bytes, start: int, end: int) -> None:
        raw = chunk[start : min(end, start + _LINE)].decode("utf-8", "replace")
        rank, text = prefix.split(raw)
        if any(sign in text for sign in _OF_USERS):
            return
        texts = _Texts(text, chunk, end, rank)
        hits = {which for which, _, _ in self._automaton.find_matches_as_indexes(text.encode(), overlapping=True)}
        if hits & self._of_load:
            said = load.read(text, rank, self._life)
            if said is not None:
                self._loads.append(said)
                self._ready = True
        if hits & self._of_oom:
            self._oom(texts, chunk, start, rank)
        done: set[str] = set()
        for message in (message for which in sorted(hits) for message in self._wanted.get(which, ())):
            if message.kind in done:
                continue
            for candidate in texts.all():
                said_of = message.read(candidate)
                if said_of is not None:
                    done.add(message.kind)
                    traced = frames.before(self._before, chunk, start, rank) if message.kind in _WITH_FRAMES else ()
                    self._event(message.kind, candidate, *said_of, rank, traced)
                    break

    def _oom(self, texts: _Texts, chunk: bytes, start: int, rank: str) -> None:
        best: Oom | None = None
        for candidate in texts.all():
            said = oom.read(candidate)
            if said is not None and (best is None or _known(said) > _known(best)):
                best = said
        if best is None:
            return
        previous = self._ooms[-1] if self._ooms else None
        if previous and (best.asked, best.free, best.allocated, best.gpu, self._life) == (
            previous.asked,
            previous.free,
            previous.allocated,
            previous.gpu,
            previous.life,
        ):
            self._counts["oom_repeated"] += 1
            return
        self._counts["oom"] += 1
        self._failed = self._failed or not self._ready
        self._ooms.append(
            msgspec.structs.replace(
                best,
                rank=rank,
                life=self._life,
                ready=self._ready,
                loaded=self._loaded,
                sized=self._sized,
                frames=frames.before(self._before, chunk, start, rank),
            )
        )

    def _event(
        self,
        kind: str,
        text: str,
        numbers: dict[str, float],
        words: dict[str, str],
        rank: str,
        frames: tuple[str, ...] = (),
    ) -> None:
        if kind == "start":
            self._begin(text, words, rank)
        elif kind == "ready":
            self._ready, self._failed = True, False
        elif kind in _FAILURES and not self._ready:
            self._failed = True
        elif kind == "model_loaded":
            self._loaded = True
        elif kind in ("kv_size", "kv_available"):
            self._sized = True
        limit = _LINE if kind == "arguments" else 600
        event = Event(kind, text[:limit].strip(), numbers, words, rank, self._life, self._ready, frames)
        self._counts[kind] += 1
        self._order += 1
        first = self._first.setdefault(kind, [])
        if len(first) < _KEEP_FIRST:
            first.append((self._order, event))
        else:
            self._late.setdefault(kind, deque(maxlen=_KEEP_LAST)).append((self._order, event))

    def _begin(self, text: str, words: dict[str, str], rank: str) -> None:
        """A start line. The same one from the same process a second time, or after serving, is a new life."""
        which = (re.sub(r"[\d.]+.*", "", text)[:40], rank)
        if which in self._starts or self._life == 0:
            self._life += 1
            self._starts = set()
            self._ready = self._loaded = self._sized = self._failed = False
        self._starts.add(which)

    def log(self) -> Log:
        """All of it."""
        kept = [pair for group in self._first.values() for pair in group]
        kept += [pair for group in self._late.values() for pair in group]
        troubles = self._troubles.text()
        last = self._last.rsplit(b"\n", 1)[-1].decode("utf-8", "replace")
        return Log(
            size=self._size,
            lives=self._life,
            ready=self._ready,
            events=tuple(event for _, event in sorted(kept, key=lambda pair: pair[0])),
            counts=dict(self._counts),
            ooms=tuple(self._ooms),
            loads=tuple(self._loads),
            last_line=prefix.strip_colour(last).strip()[:300],
            terms=tuple(sorted(terms.terms(troubles) & terms.vocabulary())),
            advised=advice.advised(troubles),
        )


class _Texts:
    """A message as it stands on its line, then with the lines that follow: pasted logs wrap."""

    def __init__(self, line: str, chunk: bytes, end: int, rank: str) -> None:
        self._line, self._chunk, self._end, self._rank = line, chunk, end, rank
        self._ahead: list[str] | None = None

    def all(self) -> Iterable[str]:
        yield self._line
        if self._ahead is None:
            self._ahead = self._following()
        if self._ahead:
            yield " ".join([self._line, *self._ahead])
            yield "".join([self._line.rstrip("\n"), *self._ahead])

    def _following(self) -> list[str]:
        found: list[str] = []
        at, length = self._end + 1, 0
        for _ in range(_AHEAD_LINES):
            end = self._chunk.find(b"\n", at)
            end = len(self._chunk) if end < 0 else end
            if at >= end or length > _AHEAD_CHARS:
                break
            rank, text = prefix.split(self._chunk[at : min(end, at + _LINE)].decode("utf-8", "replace"))
            at = end + 1
            if rank and rank != self._rank:
                continue
            if _NEW_MESSAGE.match(text):
                break
            found.append(text)
            length += len(text)
        return found


def _known(said: Oom) -> int:
    values = (said.asked, said.total, said.free, said.mine, said.others, said.allocated, said.unallocated)
    return sum(value is not None for value in values)
