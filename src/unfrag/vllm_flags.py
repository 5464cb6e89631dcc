"""Are the flags of a launch line flags of that vLLM version? The lists are data, written from each version's parser.

``python -m unfrag.engine.flags > src/unfrag/data/flags-0.32.txt`` writes one.
"""

from __future__ import annotations

import difflib
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from unfrag.facts import Launch

if TYPE_CHECKING:
    from unfrag.facts import Unknown

LISTED = ("0.32",)
PLUGIN_FLAGS = ("--pool", "--enable-expert-cache", "--expert-cache-bytes", "--rig")
# Other engines' flags in a vLLM line, and what guides made up.
NEVER = {
    "--enable-expert-cache": "no flag of vLLM; unfrag's plugin will bring it (`unfrag serve`)",
    "--mem-fraction-static": "SGLang's spelling; vLLM's is --gpu-memory-utilization",
    "--context-length": "SGLang's spelling; vLLM's is --max-model-len",
    "--tp-size": "SGLang's spelling; vLLM's is --tensor-parallel-size",
    "--chunked-prefill-size": "SGLang's spelling; vLLM's is --max-num-batched-tokens",
    "--session-len": "LMDeploy's spelling; vLLM's is --max-model-len",
    "--cache-max-entry-count": "LMDeploy's spelling; vLLM's is --gpu-memory-utilization",
    "--expandable-segments": "no flag; set PYTORCH_ALLOC_CONF=expandable_segments:True in the environment",
}
_VALUES = {"--kv-cache-dtype": {"fp16": "float16", "bf16": "bfloat16", "half": "float16"}}
_VLLM_LINE = re.compile(r"\b(?:vllm|unfrag) serve\b|vllm\.entrypoints")


@cache
def known(version: str) -> frozenset[str]:
    """Every ``--flag`` of a listed version ("0.32"), in the spelling with dashes."""
    text = resources.files("unfrag").joinpath("data", f"flags-{version}.txt").read_text("utf-8")
    return frozenset(text.split())


def check(launch: Launch | Unknown, engine: str | Unknown, version: str | Unknown) -> list[tuple[str, str]]:
    """(flag, what is wrong with it). Against the version's own list where there is one, else what no version has."""
    if not isinstance(launch, Launch) or not _VLLM_LINE.search(launch.command):
        return []
    if isinstance(engine, str) and engine != "vllm":
        return []
    listed = next(
        (v for v in LISTED if isinstance(version, str) and re.match(rf"v?{re.escape(v)}(?:\D|$)", version)), None
    )
    given = set(re.findall(r"(?<!\S)(--[A-Za-z][\w.-]*)", launch.command))
    wrong: list[tuple[str, str]] = []
    for raw in sorted(given):
        flag = raw.split(".")[0].replace("_", "-")
        plain = "--" + flag.removeprefix("--no-") if flag.startswith("--no-") else flag
        value = launch.flags.get(flag)
        if listed and (flag in known(listed) or plain in known(listed)):
            better = _VALUES.get(flag, {}).get(value or "")
            if better:
                wrong.append((flag, f"{value} is spelled {better}"))
        elif flag in NEVER:
            wrong.append((flag, NEVER[flag]))
        elif listed and flag not in PLUGIN_FLAGS and not _docker(launch.command, raw):
            near = difflib.get_close_matches(flag, known(listed), n=1, cutoff=0.75)
            wrong.append((flag, f"no flag of vLLM {listed}" + (f"; did you mean {near[0]}?" if near else "")))
    return wrong


def _docker(command: str, flag: str) -> bool:
    """Does the flag stand before the server's own words, as docker's flags do?"""
    serve = _VLLM_LINE.search(command)
    return serve is not None and command.find(flag) < serve.start()
