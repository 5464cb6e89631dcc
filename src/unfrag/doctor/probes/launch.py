"""How a server was started: its running process, what its log printed, or pasted text.

Pasted text may be a shell line, a docker command, Python (``LLM(model=…)``), a compose or systemd file, or prose.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil

from unfrag.facts.snapshot import Launch
from unfrag.facts.values import Unknown
from unfrag.flags.engines import in_vllm
from unfrag.flags.line import read_flags
from unfrag.system.network import is_here

if TYPE_CHECKING:
    from unfrag.facts.log import Log

_LONGEST = 64_000
_PYTHON = re.compile(r"(?<![\w-])([a-z][a-z0-9_]{2,40})\s*=\s*('[^'\n]{0,400}'|\"[^\"\n]{0,400}\"|[\w./:+-]{1,200})")
_DICT = re.compile(r"'([a-z][a-z0-9_]{1,40})':\s*('[^'\n]{0,400}'|[\w./:+-]{1,200}|\{[^{}]{0,300}\})")
_ENV = re.compile(r"(?<![\w.-])([A-Z][A-Z0-9_]{3,60})\s?=\s?('[^'\n]{0,300}'|\"[^\"\n]{0,300}\"|[^\s'\"`;,)]{1,300})")
_YAML_ENV = re.compile(
    r"^[ \t]{0,99}-?[ \t]{0,99}([A-Z][A-Z0-9_]{3,60}):[ \t]{0,99}[\"']?([^\"'\n#]{0,299}[^\"'\s#])[\"']?[ \t\r]{0,99}$",
    re.MULTILINE,
)
_SHORT = re.compile(r"(?<![\w-])-(tp|pp|dp|dcp|pcp|ep|q)[ =](\S+)")
_SHORT_NAMES = {
    "tp": "--tensor-parallel-size",
    "pp": "--pipeline-parallel-size",
    "dp": "--data-parallel-size",
    "dcp": "--decode-context-parallel-size",
    "pcp": "--prefill-context-parallel-size",
    "ep": "--expert-parallel-size",
    "q": "--quantization",
}
_PROSE = re.compile(r"\b(tp|pp|dp|dcp)\s?[=:]?\s?(\d{1,3})\b", re.IGNORECASE)


def of_text(command: str, source: str) -> Launch | Unknown:
    """A pasted command line, or whatever else says how a server was started."""
    command = command.replace("\0", "").removeprefix("\ufeff")[:_LONGEST]
    if not command.strip():
        return Unknown(f"{source} is empty")
    joined = re.sub(r"\\\s*\n", " ", command)
    flags: dict[str, str | None] = {f"--{name.replace('_', '-')}": _bare(value) for name, value in _python(joined)}
    flags |= read_flags(joined)
    flags |= {_SHORT_NAMES[found[1]]: found[2] for found in _SHORT.finditer(joined)}
    for found in _PROSE.finditer(joined):
        flags.setdefault(_SHORT_NAMES[found[1].lower()], found[2])
    flags |= {in_vllm()[name]: value for name, value in flags.items() if name in in_vllm()}
    env = {found[1]: _bare(found[2]) for found in _ENV.finditer(command)}
    env |= {found[1]: found[2] for found in _YAML_ENV.finditer(command)}
    return Launch(command, flags, source, env)


def _python(text: str) -> list[tuple[str, str]]:
    return [*_PYTHON.findall(text), *_DICT.findall(text)]


def _bare(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def of_log(log: Log) -> Launch | Unknown:
    """What a server printed of its own arguments at its last start."""
    said = log.last("arguments")
    return of_text(said.text, "log") if said is not None else Unknown("the log does not print the arguments")


def of_server(url: str) -> Launch | Unknown:
    """The process on this machine that listens on the URL's port."""
    parts = urlsplit(url)
    if not is_here(url):
        return Unknown(f"{parts.hostname} is another machine; paste its command into launch.txt")
    try:
        pids = {
            c.pid
            for c in psutil.net_connections("tcp")
            if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == (parts.port or 80) and c.pid
        }
        for pid in sorted(pids):
            words = psutil.Process(pid).cmdline()
            if words:
                return of_text(shlex.join(words), f"process {pid}")
    except psutil.Error as fault:
        return Unknown(f"the process behind {url} cannot be read: {fault}")
    return Unknown(f"no process of this user listens on port {parts.port}")
