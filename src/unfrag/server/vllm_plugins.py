"""``VLLM_PLUGINS``: name unfrag in it without shutting anybody else out."""

from __future__ import annotations

import os
from importlib.metadata import entry_points

VARIABLE = "VLLM_PLUGINS"
_GROUPS = (
    "vllm.general_plugins",
    "vllm.endpoint_plugins",
    "vllm.io_processor_plugins",
    "vllm.platform_plugins",
    "vllm.stat_logger_plugins",
)
# Endpoint plugins of others stay off unless they were named: vLLM treats them as opt-in.
_OPT_IN = "vllm.endpoint_plugins"


def with_unfrag(current: str | None) -> str:
    """The value that enables unfrag next to whatever was enabled before.

    vLLM loads every installed plugin while the variable is unset (endpoint plugins excepted), and only the named
    ones of every group when it is set. So an unset variable becomes the list of all that loaded.
    """
    if current is not None:
        names = [name for name in current.split(",") if name]
    else:
        names = sorted({point.name for group in _GROUPS if group != _OPT_IN for point in entry_points(group=group)})
    return ",".join([*names, *(() if "unfrag" in names else ("unfrag",))])


def from_environment() -> str:
    return with_unfrag(os.environ.get(VARIABLE))
