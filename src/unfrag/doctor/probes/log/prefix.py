"""What stands before a message: colour, docker, kubernetes, supervisor, ray, the process, level, time and file."""

from __future__ import annotations

import re

_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07)|\r|\x00|\ufeff|\[[0-9;]{1,8}m(?=[(\[A-Z ])")
_OUTER = re.compile(
    r"""^\s*(?:
      \d{4}-\d\d-\d\dT[\d:.,]+(?:Z|[+-]\d\d:?\d\d)?\s+(?:std(?:out|err)\s+[FP]\s+)?   # docker -t, containerd
    | [\w.-]{1,60}\s*\|\s                                                              # compose
    | \[pod/[^\]]{1,120}\]\s                                                           # kubectl --prefix
    | [A-Z][a-z]{2}\s+\d{1,2}\s[\d:]{8}\s[\w.-]+\s[\w.@/-]+(?:\[\d+\])?:\s             # syslog, journalctl
    )""",
    re.VERBOSE,
)
_RANK = re.compile(
    r"""^\s*(?:
      \((?P<a>\w+(?:\sDP\d+|\sTP\d+)*)(?:,|\s)\s*(?:pid|rank|ip)=[^)]*\)
    | \((?P<b>(?:Worker|EngineCore|APIServer|VllmWorker\w*|ServeReplica)[\w:]*)[^)]*\)
    | \[(?P<c>rank\d+)\]:?
    | \[\d{4}-\d\d-\d\d\s[\d:.,]+\s(?P<d>(?:(?:DP|TP|EP|PP)\d+\s?)+)\]
    | (?P<e>rank\d+|Rank\s\d+):
    )\s?""",
    re.VERBOSE,
)
_LEVEL = re.compile(
    r"""^\s*(?:
      (?P<level>DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)\b[:\s-]*(?:\d\d-\d\d\s[\d:.,]+\s*)?(?:\[[\w./-]+(?::\d+|\.py)\]\s?|[\w./-]+:\d+\]\s?)?
    | \[\d{4}-\d\d-\d\d\s[\d:.,]+\]\s?
    | \d{4}-\d\d-\d\d\s[\d:.,]+\s(?:-\s)?
    )""",
    re.VERBOSE,
)


def strip_colour(line: str) -> str:
    """The line without ANSI sequences (their escape byte may have been lost), NULs and carriage returns."""
    return _ANSI.sub("", line) if ("\x1b" in line or "\r" in line or "\0" in line or "m" in line) else line


def split(line: str) -> tuple[str, str]:
    """(process or rank, message): ``"(Worker_TP0 pid=9) ERROR 11-22 10:00:00 [a.py:3] text" -> ("Worker_TP0", "text")``."""
    text = strip_colour(line).rstrip("\n")
    for _ in range(2):
        outer = _OUTER.match(text)
        if outer is None:
            break
        text = text[outer.end() :]
    rank = ""
    for _ in range(3):
        found = _RANK.match(text)
        if found is not None:
            rank = rank or next(group for group in found.groups() if group).strip()
            text = text[found.end() :]
            continue
        level = _LEVEL.match(text)
        if level is None or not level.end():
            break
        text = text[level.end() :]
    return rank, text
