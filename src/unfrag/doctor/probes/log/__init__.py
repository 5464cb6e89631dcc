"""A server's log, read in one pass for what its programs are known to print. Memory does not grow with the file.

``source``    opens any file: plain, UTF-16, gzip, zstd
``prefix``    takes off what stands before a message
``pattern``   how a message is written down; ``messages/`` are the messages, one file a program
``oom``, ``load``  PyTorch's out-of-memory message; the engines' periodic lines
``terms``     words of the lines that tell of trouble
``advice``    what a message itself advises; ``frames`` of a traceback
``gather``    the pass
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec

from unfrag.doctor.probes.log.gather import Gatherer, Places, places
from unfrag.doctor.probes.log.source import Source
from unfrag.facts.values import Unknown

if TYPE_CHECKING:
    from pathlib import Path

    from unfrag.facts.log import Log

# The search lets go of Python's lock, so that threads help.
_SEARCHERS = min(4, os.cpu_count() or 1)


def read(path: Path) -> Log | Unknown:
    """Read a log file from its beginning."""
    source = Source(path)
    stream = source.open()
    if isinstance(stream, Unknown):
        return stream
    gatherer = Gatherer()
    with stream, ThreadPoolExecutor(_SEARCHERS) as searchers:
        in_flight: deque[tuple[bytes, Future[Places]]] = deque()
        for raw in source.chunks(stream):
            chunk = gatherer.straighten(raw)
            in_flight.append((chunk, searchers.submit(places, chunk)))
            if len(in_flight) > _SEARCHERS:
                done, where = in_flight.popleft()
                gatherer.feed(done, where.result())
        for done, where in in_flight:
            gatherer.feed(done, where.result())
    log = gatherer.log()
    return msgspec.structs.replace(log, note=source.note) if source.note else log


def parse(text: str) -> Log:
    """The same for text that is in hand."""
    gatherer = Gatherer()
    chunk = gatherer.straighten(text.encode("utf-8", "replace"))
    gatherer.feed(chunk, places(chunk))
    return gatherer.log()
