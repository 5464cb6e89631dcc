"""Every regular expression of the package, and how long each takes on texts made to hurt it. Run as a child."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import re
import signal
import sys
import time
from pathlib import Path

import msgspec

import unfrag

# What reads no text of strangers.
SKIPPED = ("unfrag.engine", "unfrag.rig", "unfrag.__main__", "unfrag.bench.guidellm_child")
OF_OUR_OWN = (
    "unfrag.doctor.probes.log.pattern._SPACE",
    "unfrag.doctor.probes.log.pattern._HOLE",
)  # run over our own templates
SEEDS = (
    "1",
    "1,",
    "1.",
    "1x",
    "9 ",
    " ",
    "\t \n",
    "\n",
    "a",
    "A",
    "A_",
    "a.",
    "a-",
    "-",
    "--",
    "=",
    "a=",
    "a='",
    "a: ",
    "'",
)
SEEDS += (
    '"',
    "(",
    "[",
    "{",
    "|",
    "| ",
    "\\",
    "\\\n",
    "/",
    "/a",
    ":",
    "1:",
    "%",
    "%(",
    ",",
    ", ",
    "#",
    "\x1b[",
    "...",
    "é",
    "1GB ",
)
WORD = re.compile(r"[A-Za-z#][A-Za-z]{1,30}")
LENGTH = 8000
SLOW_SECONDS, MOST_SECONDS = 0.1, 0.5
"""The least of several tries. What is linear takes mostly a tenth of it, what is quadratic several times as much."""
LINEAR = 8
"""Times as long for a text of four times the length: 4 where it is linear, 16 where it is quadratic."""


def modules():
    for found in pkgutil.walk_packages(unfrag.__path__, "unfrag."):
        if not found.name.startswith(SKIPPED):
            yield importlib.import_module(found.name)


def patterns():
    """(where, pattern) of all that stand in modules' globals or are given to ``re`` as a literal."""
    found = {}
    for module in modules():
        for name, value in vars(module).items():
            for pattern in inside(value):
                found.setdefault((pattern.pattern, pattern.flags), f"{module.__name__}.{name}")
        if module.__file__:
            for literal, line in literals(Path(module.__file__)):
                found.setdefault((literal, 0), f"{module.__name__}:{line}")
    found = {key: where for key, where in found.items() if where not in OF_OUR_OWN}
    from unfrag.doctor.probes.log.messages import MESSAGES
    from unfrag.doctor.probes.log.pattern import compiled

    for message in MESSAGES:
        pattern = compiled(message).regex
        found.setdefault((pattern.pattern, pattern.flags), f"message {message.kind}")
    return found


def inside(value, depth=0):
    if isinstance(value, re.Pattern):
        yield value
    elif depth < 4 and isinstance(value, dict):
        for one in value.values():
            yield from inside(one, depth + 1)
    elif depth < 4 and isinstance(value, tuple | list | frozenset):
        for one in value:
            yield from inside(one, depth + 1)
    elif depth < 4 and isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from inside(getattr(value, name), depth + 1)


def literals(path):
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    for call in calls:
        function = call.func
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "re":
            if function.attr not in ("search", "sub", "findall", "finditer", "split"):
                continue  # compiled ones are found as such; what is anchored begins in one place
            first = call.args[0] if call.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value, call.lineno


def seconds(pattern, text):
    """Processor seconds of one search; it is broken off soon after it was too long."""
    subject = text.encode() if isinstance(pattern.pattern, bytes) else text
    signal.setitimer(signal.ITIMER_VIRTUAL, MOST_SECONDS)
    started = time.process_time()
    try:
        pattern.search(subject)
    except TooLong:
        pass
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return time.process_time() - started


class TooLong(Exception):
    pass


def too_long(*_):
    raise TooLong


def seeds(pattern):
    said = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    words = set(WORD.findall(said.replace("\\s", " ").replace("\\b", " ").replace("\\w", " ")))
    return (*SEEDS, *words, *(f"{word} " for word in words))


def slow():
    """(where, pattern, seed, seconds) of each that is worse than linear."""
    signal.signal(signal.SIGVTALRM, too_long)
    for (said, flags), where in patterns().items():
        pattern = re.compile(said, flags)
        for seed in seeds(pattern):
            text = seed * (LENGTH // len(seed)) + "\x01"
            took = seconds(pattern, text)
            if took > SLOW_SECONDS:
                took = min(took, *(seconds(pattern, text) for _ in range(2)))
                short = min(seconds(pattern, text[: LENGTH // 4]) for _ in range(3))
                if took >= MOST_SECONDS or (took > SLOW_SECONDS and took > LINEAR * short):
                    yield where, str(said)[:300], seed, round(took, 2), round(short, 4)
                    break


if __name__ == "__main__":
    for one in slow():
        sys.stdout.write(json.dumps(one) + "\n")
        sys.stdout.flush()
