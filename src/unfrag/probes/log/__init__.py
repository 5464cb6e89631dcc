"""A server's log, read in one pass for what its programs are known to print. Memory does not grow with the file.

``source``    opens any file: plain, UTF-16, gzip, zstd
``prefix``    takes off what stands before a message
``pattern``   how a message is written down; ``messages/`` are the messages, one file a program
``oom``, ``load``  PyTorch's out-of-memory message; the engines' periodic lines
``gather``    the pass
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from unfrag.facts import Unknown
from unfrag.probes.log.gather import Gatherer
from unfrag.probes.log.source import Source

if TYPE_CHECKING:
    from pathlib import Path

    from unfrag.events import Log


def read(path: Path) -> Log | Unknown:
    """Read a log file from its beginning."""
    source = Source(path)
    stream = source.open()
    if isinstance(stream, Unknown):
        return stream
    gatherer = Gatherer()
    with stream:
        for chunk in source.chunks(stream):
            gatherer.feed(chunk)
    log = gatherer.log()
    return msgspec.structs.replace(log, note=source.note) if source.note else log


def parse(text: str) -> Log:
    """The same for text that is in hand."""
    gatherer = Gatherer()
    gatherer.feed(text.encode("utf-8", "replace"))
    return gatherer.log()
