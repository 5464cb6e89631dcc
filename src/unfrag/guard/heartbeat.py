"""Does the engine of a server without unfrag's plugin live? Its steps move on, or it answers a canary of one token."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import httpx

from unfrag.facts.snapshot import Metrics
from unfrag.server import metrics
from unfrag.server.client import Server

if TYPE_CHECKING:
    from collections.abc import Callable


class Heartbeat:
    """Of one server. vLLM's API server answers ``/health`` and ``/metrics`` also when its engine stands still.

    Args:
        clock: seconds.
        quiet: a server that has had nothing to do for so long is asked.
    """

    def __init__(self, clock: Callable[[], float], quiet: float) -> None:
        self._clock, self._quiet = clock, quiet
        self._steps: float | None = None
        self._alive: float | None = None

    def age(self, client: httpx.Client, url: str, patience: float) -> float | None:
        """Seconds since the last sign of life; None where the server does not say.

        Args:
            patience: seconds that the canary may take to answer.
        """
        try:
            found = metrics.parse(client.get(f"{url}/metrics", timeout=patience).text)
        except (httpx.HTTPError, httpx.InvalidURL):
            return None
        if not isinstance(found, Metrics) or found.iterations is None:
            return None
        now = self._clock()
        moved = found.iterations != self._steps
        self._steps = found.iterations
        if self._alive is None or moved:
            self._alive = now
        elif now - self._alive >= self._quiet and not found.running and self._canary(url, patience):
            self._alive = self._clock()
        return self._clock() - self._alive

    def _canary(self, url: str, patience: float) -> bool:
        """A refusal (a key is wanted, say) is an answer of the API server alone, and still no reason for a restart."""
        with Server(url, os.environ.get("OPENAI_API_KEY")) as server:
            try:
                server.complete(patience)
            except httpx.TimeoutException:
                return False
            except httpx.HTTPError:
                return True
        return True
