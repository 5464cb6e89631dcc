"""A finding's fixes as commands to paste, where it is known who starts the server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from unfrag.flags import check
from unfrag.flags.line import flag_name, read_flags, strays
from unfrag.flags.ours import FLAGS

if TYPE_CHECKING:
    from unfrag.doctor.diagnosis import Diagnosis
    from unfrag.launchers.place import Place

_REMARK = re.compile(r"\s#\s")
_RESTART = re.compile(r"restart(?: the (?:\w+ )?server)?(?=$|[:;, ])(?! the | them\b| it\b)[:;, ]*")
_OURS = re.compile(r"unfrag (?:diagnose|capture|flush|bench|restart|guard)\b")
_OPEN = re.compile(r"\b[A-Z]\b|…|\.\.\.|[{}<>]$")  # something is to be filled in


def as_commands(found: Diagnosis, place: Place) -> Diagnosis:
    """The same with every fix that is a flag of vLLM's, or a restart, as the command that does it there."""
    findings = tuple(
        msgspec.structs.replace(finding, fixes=tuple(command(fix, place) for fix in finding.fixes))
        for finding in found.findings
    )
    return msgspec.structs.replace(found, findings=findings)


def command(fix: str, place: Place) -> str:
    """One fix; what is no command of ours stays as it is."""
    words, *remark = (part.strip() for part in _REMARK.split(fix, maxsplit=1))
    behind = f"   # {remark[0]}" if remark else ""
    if _are_flags(words):
        return f"unfrag apply {place} -- {words}{behind}"
    if (ours := _OURS.match(words)) is not None and not re.search(r"--(?:config|unit|compose|url|evidence)\b", words):
        return f"{words[: ours.end()]} {place}{words[ours.end() :]}{behind}"
    if (restart := _RESTART.match(fix)) is not None:
        why = fix[restart.end() :].lstrip("# ")
        return f"unfrag restart {place}" + (f"   # {why}" if why else "")
    return fix.replace("restart the server", f"unfrag restart {place}")


def _are_flags(words: str) -> bool:
    """Are these flags of vLLM or of unfrag's plugin with their values, and nothing else?"""
    if not words.startswith("--") or _OPEN.search(words) or strays(words):
        return False
    known = check.known(check.LISTED[-1])
    return all(flag_name(flag).split(".")[0] in known or flag in FLAGS for flag in read_flags(words))
