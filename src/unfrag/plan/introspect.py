"""The installed vLLM's own word on a model: asked in a child process with a time limit, kept on disk.

The answer depends on the configuration, the split and the version, so those are its key.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from pathlib import Path

import msgspec

from unfrag.errors import UsageError
from unfrag.facts.values import Unknown
from unfrag.flags import vllm_version
from unfrag.plan import child
from unfrag.system import paths
from unfrag.system.decode import decoded
from unfrag.system.files import read_file, write_atomically

_TIMEOUT_SECONDS = 90
# What a build without the right kernels says; a wrong configuration is a ValueError or pydantic's.
_CANNOT_BE_ASKED = (
    "NotImplementedError",
    "RuntimeError",
    "AttributeError",
    "ImportError",
    "ModuleNotFoundError",
    "Model arch",
)


class Layer(msgspec.Struct, frozen=True):
    layer: str
    kind: str
    block_tokens: int
    page_bytes: int


class Introspection(msgspec.Struct, frozen=True):
    """Of one rank. ``layers``: the KV spec of each."""

    weights_bytes: int
    parameters: int
    layers: tuple[Layer, ...]
    max_model_len: int
    block_size: int
    num_blocks: int | None = None
    groups: int | None = None
    kv_tokens: int | None = None
    max_concurrency: float | None = None

    @property
    def token_bytes(self) -> float:
        """Of one token over all layers that keep one entry a token."""
        return sum(layer.page_bytes / layer.block_tokens for layer in self.layers)


def ask(
    config: object, tp: int, pp: int, flags: dict[str, object], available_bytes: int | None = None
) -> Introspection | Unknown:
    """Ask, or read what was answered before."""
    version = vllm_version.installed()
    if version is None:
        return Unknown("vLLM is not installed here")
    if not isinstance(config, dict) or not config.get("architectures"):
        return Unknown("the configuration names no architectures, which vLLM wants")
    request = {"config": config, "tp": tp, "pp": pp, "flags": flags, "available_bytes": available_bytes}
    key = hashlib.sha256(json.dumps([version, request], sort_keys=True, default=str).encode()).hexdigest()[:32]
    kept = paths.cache_dir() / "plans" / f"{key}.json"
    try:
        return decoded(read_file(kept), kept.name, Introspection)
    except UsageError:
        pass  # not asked yet, or a damaged file: ask
    answer = _child(request)
    if isinstance(answer, Introspection):
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(kept, msgspec.json.encode(answer))
        except (OSError, UsageError):
            pass  # a read-only disk: the next plan asks again
    return answer


def _child(request: dict[str, object]) -> Introspection | Unknown:
    with tempfile.TemporaryDirectory(prefix="unfrag-plan-") as folder:
        (Path(folder) / "config.json").write_text(json.dumps(request["config"], default=str))
        asked = {**request, "folder": folder, "config": None}
        try:
            last = child.ask("unfrag.engine.introspect", asked, _TIMEOUT_SECONDS)
        except TimeoutError:
            return Unknown(f"vLLM did not answer within {_TIMEOUT_SECONDS} s")
        except child.NoAnswer as fault:
            why = _reason(fault.stderr)
            if why.startswith(_CANNOT_BE_ASKED):
                return Unknown(f"the vLLM installed here cannot be asked about this model ({why})")
            return Unknown(f"vLLM refuses the configuration: {why}")
    try:
        return msgspec.json.decode(last, type=Introspection)
    except (msgspec.DecodeError, msgspec.ValidationError) as fault:
        return Unknown(f"vLLM's answer was not understood: {fault}")


def _reason(stderr: str) -> str:
    """The sentence in a traceback that says why: pydantic's "Value error, …" or the last error."""
    lines = [re.sub(r"^\[rank\d+\]:", "", line).strip() for line in stderr.splitlines()]
    said = [line for line in lines if line.startswith("Value error")] or [line for line in lines if "Error" in line]
    return said[-1].removeprefix("Value error, ")[:200] if said else "no reason given"
