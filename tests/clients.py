"""Clients that ask a server until a block ends."""

from __future__ import annotations

import threading


class Clients:
    """So many threads, each in ``run`` with its number; ``run`` goes on while ``going`` is true."""

    def __init__(self, number):
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self.run, args=(n,)) for n in range(number)]

    def run(self, number):
        raise NotImplementedError

    @property
    def going(self):
        return not self._stop.is_set()

    def pause(self, seconds):
        """Not beyond the end of the block."""
        self._stop.wait(seconds)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()
