"""A plan's command as a supervisor program, a systemd unit, a compose file or Kubernetes objects."""

from __future__ import annotations

import json
import re
import shlex

from unfrag.errors import UsageError
from unfrag.flags.quote import for_compose, for_supervisor, for_systemd
from unfrag.system.templates import render

KINDS = ("supervisor", "systemd", "compose", "kubernetes")
IMAGE = "vllm/vllm-openai:v0.32.0"


def manifest(kind: str, words: list[str], cards: int, servers: int = 1, warning: str = "", port: int = 8000) -> str:
    """The text of one of ``KINDS``.

    Args:
        words: ``vllm serve MODEL …``.
        cards: how many one server takes.
        servers: equal ones that share the machine.
        warning: goes into a comment on top.

    Raises:
        UsageError: a word holds what would end its line.
    """
    model = words[2]
    if any(ord(char) < ord(" ") or char == "\x7f" for word in words for char in word):
        raise UsageError(f"--as {kind}: a line break or another control character cannot stand in a manifest")
    return render(
        "unfrag.plan",
        f"templates/{kind}.j2",
        {"json": _json, "supervisor": _supervisor, "systemd": _systemd, "compose": _compose},
        words=words,
        model=model,
        name=_name(model),
        cards=cards,
        servers=servers,
        warning=" ".join(warning.split()),
        port=port,
        image=IMAGE,
        local=model.startswith(("/", ".")),
    )


def _name(model: str) -> str:
    """A name that Kubernetes takes: lower case, digits and dashes, at most 50."""
    last = model.rstrip("/").rsplit("/", 1)[-1].lower()
    return ("vllm-" + (re.sub(r"[^a-z0-9]+", "-", last).strip("-") or "model"))[:50].rstrip("-")


def _json(value: object) -> str:
    """JSON is YAML, but for escapes of characters beyond 16 bits."""
    return json.dumps(value, ensure_ascii=False)


def _compose(words: list[str]) -> str:
    """A list for a compose file, where ``$`` starts a variable."""
    return _json([for_compose(word) for word in words])


def _supervisor(words: list[str]) -> str:
    """A command for supervisord, where ``%`` starts an expansion."""
    return for_supervisor(shlex.join(words))


def _systemd(words: list[str]) -> str:
    """A command for ``ExecStart=``: its own quoting, ``%`` and ``$`` doubled (systemd.service, COMMAND LINES)."""
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    word = for_systemd(word.replace("\\", "\\\\"))
    if re.search(r"[\s\"';]", word):
        return '"' + word.replace('"', '\\"') + '"'
    return word
