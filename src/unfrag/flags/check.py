"""Are the flags of a launch line flags of that vLLM version? The lists are data, written from each version's parser.

``python -m unfrag.engine.vllm.flags > src/unfrag/flags/vllm-0.32.txt`` writes one.
"""

from __future__ import annotations

import difflib
import re
from functools import cache
from typing import TYPE_CHECKING

from unfrag.facts.snapshot import Launch
from unfrag.flags import vllm_version
from unfrag.flags.engines import foreign
from unfrag.flags.ours import FLAGS
from unfrag.flags.repair import repair_value
from unfrag.system import resources

if TYPE_CHECKING:
    from unfrag.facts.values import Unknown

LISTED = ("0.32",)
# What guides made up.
_MADE_UP = {
    "--expandable-segments": "no flag; set PYTORCH_ALLOC_CONF=expandable_segments:True in the environment",
}
_SHARES = ("--gpu-memory-utilization",)
_COUNTS = (
    *("--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size", "--max-num-seqs", "--block-size"),
    *("--max-model-len", "--max-num-batched-tokens"),
)
_FEW = 8  # values that are named
_VARIABLE = re.compile(r"[%$]")
_VLLM_LINE = re.compile(r"\b(?:vllm|unfrag) serve\b|vllm\.entrypoints|unfrag\.engine\.vllm\.serve")


@cache
def known(version: str) -> frozenset[str]:
    """Every ``--flag`` of a listed version ("0.32"), in the spelling with dashes."""
    return frozenset(choices(version))


@cache
def choices(version: str) -> dict[str, tuple[str, ...]]:
    """The same, with the values that each can take; none where they are not counted out."""
    lines = [line.partition(" ") for line in resources.text("unfrag.flags", f"vllm-{version}.txt").splitlines()]
    return {flag: tuple(values.split("|")) if values else () for flag, _, values in lines}


@cache
def never() -> dict[str, str]:
    """What no version of vLLM has, and why: other engines' flags, and what guides made up."""
    return {flag: why for flag, why in foreign().items() if len(flag) > len("--tp")} | _MADE_UP


def unchecked(command: str, version: str | Unknown) -> str | None:
    """Why :func:`check` can say little of this line; None: it is checked."""
    if not is_vllm_line(command):
        return "the command is none of vLLM's own (a script that starts it?)"
    if listed(version) is None:
        found = version if isinstance(version, str) else "unknown"
        return f"vLLM's version there is {found}, and only the flags of {', '.join(LISTED)} are known here"
    return None


def listed(version: str | Unknown) -> str | None:
    """Which list the flags of this version can be checked against; without a version, the installed vLLM's."""
    said = version if isinstance(version, str) else vllm_version.installed()
    return next((v for v in LISTED if said and re.match(rf"v?{re.escape(v)}(?:\D|$)", said)), None)


def names_vllm(launch: Launch | Unknown) -> bool:
    """Is it a line that starts vLLM's server?"""
    return isinstance(launch, Launch) and is_vllm_line(launch.command)


def is_vllm_line(command: str) -> bool:
    return _VLLM_LINE.search(command) is not None


def check(launch: Launch | Unknown, engine: str | Unknown, version: str | Unknown) -> list[tuple[str, str]]:
    """(flag, what is wrong with it). Against the version's own list where there is one, else what no version has."""
    if not isinstance(launch, Launch) or not is_vllm_line(launch.command):
        return []
    if isinstance(engine, str) and engine != "vllm":
        return []
    against = listed(version)
    given = set(re.findall(r"(?<!\S)(--[A-Za-z][\w.-]*)", launch.command))
    wrong: list[tuple[str, str]] = []
    for raw in sorted(given):
        flag = raw.split(".")[0].replace("_", "-")
        plain = "--" + flag.removeprefix("--no-") if flag.startswith("--no-") else flag
        value = launch.flags.get(flag)
        if against and (flag in known(against) or plain in known(against)):
            why = _value(flag, value, choices(against).get(flag, ()))
            if why:
                wrong.append((flag, why))
        elif flag in FLAGS or flag == "--rig":
            if "unfrag serve" not in launch.command:
                wrong.append((flag, "no flag of vLLM; unfrag's plugin brings it, under `unfrag serve`"))
        elif flag in never():
            wrong.append((flag, never()[flag]))
        elif against and not _docker(launch.command, raw):
            near = difflib.get_close_matches(flag, known(against), n=1, cutoff=0.75)
            wrong.append((flag, f"no flag of vLLM {against}" + (f"; did you mean {near[0]}?" if near else "")))
    return wrong


def _value(flag: str, value: str | None, among: tuple[str, ...]) -> str | None:
    """What is wrong with a value, of the flags that decide about memory and of those that take one of a few."""
    if value is None:
        return "it needs a value" if flag in (*_SHARES, *_COUNTS, "--kv-cache-dtype", "--port") else None
    return _none_of(flag, value, among) or _no_number(flag, value)


def _none_of(flag: str, value: str, among: tuple[str, ...]) -> str | None:
    if not among or _VARIABLE.search(value) or _plain(value) in map(_plain, among):
        return None
    better = repair_value(flag, value)
    if better != value:
        return f"{value} is spelled {better}"
    near = difflib.get_close_matches(value, among, n=1)
    few = f"; it takes {', '.join(among)}" if len(among) <= _FEW else ""
    return f"{value} is none of its values" + (f"; did you mean {near[0]}?" if near else few)


def _plain(value: str) -> str:
    return value.casefold().replace("-", "_")


def _no_number(flag: str, value: str) -> str | None:
    if flag in _SHARES and not _is_share(value):
        return f"{value} is no share: above 0 and at most 1"
    if flag == "--max-model-len" and value == "-1":  # as much as fits
        return None
    if flag in _COUNTS and not re.fullmatch(r"0*[1-9]\d*(?:\.\d+)?[kKmMgG]?|0\.\d+[kKmMgG]|auto", value):
        return f"{value} is no whole number above 0"
    if flag == "--port" and not _VARIABLE.search(value) and not (value.isdecimal() and 0 < int(value) < 65_536):
        return f"{value} is no port"
    return None


def _is_share(value: str) -> bool:
    try:
        return 0 < float(value) <= 1
    except ValueError:
        return False


def _docker(command: str, flag: str) -> bool:
    """Does the flag stand before the server's own words, as docker's flags do?"""
    serve = _VLLM_LINE.search(command)
    return serve is not None and command.find(flag) < serve.start()
