"""Are the flags of a launch line flags of that vLLM version? The lists are data, written from each version's parser.

``python -m unfrag.engine.vllm.flags > src/unfrag/data/flags-0.32.txt`` writes one.
"""

from __future__ import annotations

import difflib
import re
from functools import cache
from typing import TYPE_CHECKING

from unfrag import data, vllm_version
from unfrag.facts import Launch
from unfrag.own_flags import FLAGS

if TYPE_CHECKING:
    from unfrag.facts import Unknown

LISTED = ("0.32",)
# Other engines' flags in a vLLM line, and what guides made up.
NEVER = {
    "--mem-fraction-static": "SGLang's spelling; vLLM's is --gpu-memory-utilization",
    "--context-length": "SGLang's spelling; vLLM's is --max-model-len",
    "--tp-size": "SGLang's spelling; vLLM's is --tensor-parallel-size",
    "--chunked-prefill-size": "SGLang's spelling; vLLM's is --max-num-batched-tokens",
    "--session-len": "LMDeploy's spelling; vLLM's is --max-model-len",
    "--cache-max-entry-count": "LMDeploy's spelling; vLLM's is --gpu-memory-utilization",
    "--expandable-segments": "no flag; set PYTORCH_ALLOC_CONF=expandable_segments:True in the environment",
}
_VALUES = {"--kv-cache-dtype": {"fp16": "float16", "bf16": "bfloat16", "half": "float16"}}
_SHARES = ("--gpu-memory-utilization",)
_COUNTS = (
    *("--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size", "--max-num-seqs", "--block-size"),
    *("--max-model-len", "--max-num-batched-tokens"),
)
_VARIABLE = re.compile(r"[%$]")
_VLLM_LINE = re.compile(r"\b(?:vllm|unfrag) serve\b|vllm\.entrypoints|unfrag\.engine\.vllm\.serve")


@cache
def known(version: str) -> frozenset[str]:
    """Every ``--flag`` of a listed version ("0.32"), in the spelling with dashes."""
    return frozenset(data.text(f"flags-{version}.txt").split())


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
            why = _value(flag, value)
            if why:
                wrong.append((flag, why))
        elif flag in FLAGS or flag == "--rig":
            if "unfrag serve" not in launch.command:
                wrong.append((flag, "no flag of vLLM; unfrag's plugin brings it, under `unfrag serve`"))
        elif flag in NEVER:
            wrong.append((flag, NEVER[flag]))
        elif against and not _docker(launch.command, raw):
            near = difflib.get_close_matches(flag, known(against), n=1, cutoff=0.75)
            wrong.append((flag, f"no flag of vLLM {against}" + (f"; did you mean {near[0]}?" if near else "")))
    return wrong


def _value(flag: str, value: str | None) -> str | None:
    """What is wrong with a value, of the flags that decide about memory."""
    if value is None:
        return "it needs a value" if flag in (*_SHARES, *_COUNTS, *_VALUES, "--port") else None
    return _misspelled(flag, value) or _no_number(flag, value)


def _misspelled(flag: str, value: str) -> str | None:
    better = _VALUES.get(flag, {}).get(value)
    if better:
        return f"{value} is spelled {better}"
    if flag == "--kv-cache-dtype" and not re.match(r"auto|(?:b?float|fp|int|nvfp|turboquant|mxfp)\w*$", value):
        return f"{value} is no type of a KV cache"
    return None


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
