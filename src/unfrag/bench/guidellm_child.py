"""GuideLLM, imported once and run many times: reads a specification a line, answers with a line.

Its import takes 6 s and its workers import it again; here the workers fork from a server that has done so.
Everything GuideLLM prints goes to stderr, its progress display included.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import sys

_PRELOAD = ["guidellm.benchmark", "guidellm.backends", "guidellm.scheduler"]


def main() -> None:
    """Specifications on stdin: ``{"spec": …, "progress": bool}``. Answers on stdout: ``{"error": str | null}``."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    multiprocessing.set_forkserver_preload(_PRELOAD)
    from guidellm.benchmark import benchmark_generative_text
    from guidellm.schemas.benchmark import BenchmarkScenario
    from rich.console import Console

    for line in sys.stdin:
        order = json.loads(line)
        error = None
        try:
            scenario = BenchmarkScenario.create(scenario=None, spec=order["spec"])
            asyncio.run(benchmark_generative_text(args=scenario, progress=order["progress"], console=None))
        except Exception as fault:
            error = f"{type(fault).__name__}: {fault}"
        Console(stderr=True).show_cursor(True)
        answers.write(json.dumps({"error": error}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
