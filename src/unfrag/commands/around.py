"""A short bench on both sides of a change, with the same prompts."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from unfrag.bench import run
from unfrag.bench.compare import compare
from unfrag.bench.load import LoadGenerator
from unfrag.bench.verdict import verdicts
from unfrag.bench.workload import generate
from unfrag.errors import NotEnoughEvidence
from unfrag.facts.values import Unknown
from unfrag.reports.text.comparison import table
from unfrag.server.client import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table

    from unfrag.bench.result import Result

_TOKENS, _OUT, _REPEATS = 512, 32, 2


class Around:
    """Measures the server at once; :meth:`failures` measures it again.

    Args:
        prompts: how many requests a pass has. They come on top of what the server is doing.
        say: called with a line for each pass.

    Raises:
        NotEnoughEvidence: the server cannot be loaded.
    """

    def __init__(self, url: str, prompts: int, say: Callable[[str], object]) -> None:
        self._prompts, self._say = prompts, say
        self._results = [self._measure(url, "before")]

    def failures(self, url: str) -> list[str]:
        """What failed after the change and did not before."""
        self._results.append(self._measure(url, "after"))
        before, after = (sum(repeat.failed for repeat in result.repeats) for result in self._results)
        return [f"{after} requests of the bench failed, {before} before"] if after > before else []

    def table(self) -> Table:
        return table(self._results, compare(self._results))

    def verdict(self) -> str:
        """In a sentence, what the change did."""
        return verdicts(self._results, compare(self._results))[0].sentence

    def _measure(self, url: str, label: str) -> Result:
        with Server(url) as server:
            model, longest = server.model()
            if isinstance(model, Unknown):
                raise NotEnoughEvidence(f"{url}: {model.why}; --bench measures a server that is up")
            mean = _TOKENS if isinstance(longest, Unknown) else min(_TOKENS, (longest - _OUT) // 2)
            workload = generate(partial(server.tokens, model), self._prompts, mean, output_tokens=_OUT)
        plan = run.BenchPlan(in_flight=max(1, self._prompts // 2), repeats=_REPEATS, searches=0, max_seconds=300.0)
        with LoadGenerator(url, model, os.environ.get("OPENAI_API_KEY")) as load:
            return run.bench(url, load, workload, plan, label, self._say)
