"""Keys behind the options of well-known programs, which no name tells: ``curl -u me:K``, ``mysql -pK``, ``ipmitool -P K``."""

from __future__ import annotations

import re

from unfrag.redaction.taken import without_value

_CURLS = "[0-9#aBfGgiIjJkLlnNOqRsSvZ]{0,10}"  # short options without a value, which may stand before one in a word
_NEXT = r"(?:=|[\"']?,?\s{0,64}(?:-[ \t]{1,4})?)"  # the next word, also of a list in JSON or YAML
_WORD = r"(?P<quote>[\"'])?(?P<value>(?(quote)[^\"'\n]{2,200}|[^\s\"']{2,200}))"

_LOGIN = re.compile(
    rf"(?P<before>(?<![\w-])(?:-{_CURLS}[uU]|--(?:proxy-)?user|--basic-auth|--(?:src-|dest-)?creds){_NEXT}"
    r"(?P<quote>[\"'])?(?!\d{1,9}:\d)[^\s:\"'/,\[\]{}]{0,100}:)(?!//)"
    r"(?P<value>(?(quote)[^\"'\n]{1,200}|[^\s\"',\]]{1,200}))"
)
_HTTPIE = re.compile(
    r"(?P<before>(?<![\w./:@-])(?:https?|xhs?)(?:[ \t]{1,8}(?!-a)\S{1,100}){0,8}?[ \t]{1,8}-a[ \t=]?"
    r"(?P<quote>[\"']?)[^\s:\"']{0,100}:)(?P<value>[^\s\"']{1,200})"
)
_COOKIE = re.compile(
    rf"(?P<before>\bcurl[\"']?,?(?:[ \t]{{1,8}}(?!-b)\S{{1,200}}){{0,12}}?[ \t]{{1,8}}[\"']?-{_CURLS}b{_NEXT}(?P<quote>[\"'])?)"
    r"(?P<value>(?(quote)[^\"'\n]{1,2000}|[^\s\"'=]{1,100}=[^\s\"']{1,2000}))"
)
_USERS = re.compile(
    r"(?i)(?P<before>\bbasic[_-]?auth[._-]?users?[\"']?[ \t]{0,4}[:=][ \t]{0,4}(?P<quote>[\"']?)[^\s:\"']{1,100}:)"
    r"(?P<value>[^\s\"']{2,200})"
)
_WINDOWS = re.compile(
    r"(?P<before>\b(?:smbclient|rpcclient|smbmap)\b[^\n%]{0,200}?[ \t]-U[ \t=]?(?P<quote>[\"']?)[^\s%\"']{1,60}%)"
    r"(?P<value>[^\s\"']{1,200})"
)
_PIPED = re.compile(
    r"(?P<before>\b(?:echo|printf)[ \t]+(?:-\w[ \t]+)?(?P<quote>[\"']?))(?P<value>[^\s\"'|]{3,200})(?=[\"']?[ \t]*\|[^\n]{0,200}(?:stdin|base64|login|passwd))"
)
_POSITIONS = (
    r"\bhtpasswd(?:[ \t]{1,8}-\w{1,8}){1,4}[ \t]{1,8}\S{1,200}[ \t]{1,8}\S{1,100}[ \t]{1,8}",
    r"\bmc[ \t]{1,8}(?:alias[ \t]{1,8}set|config[ \t]{1,8}host[ \t]{1,8}add)(?:[ \t]{1,8}\S{1,300}){3}[ \t]{1,8}",
    r"\b(?:wandb|vault)[ \t]{1,8}login(?:[ \t]{1,8}-{1,2}[\w-]{1,30}(?:=\S{1,60})?){0,4}[ \t]{1,8}(?!-)",
    r"(?<![\w-])(?:requirepass|masterauth)[ \t]{1,8}",
    r"--from-literal(?:=|[ \t]{1,8})[\"']?[\w.-]{1,100}=",
)


def _option(programs: str, option: str) -> str:
    return rf"\b(?:{programs})\b(?:[ \t]{{1,8}}(?!{option})\S{{1,100}}){{0,8}}?[ \t]{{1,8}}{option}[ \t=]?"


_BEHIND = (
    *_POSITIONS,
    _option(
        "sshpass|mysql|mysqldump|mysqladmin|mariadb|redis-cli|mongosh?|smbclient|ldapsearch|az login|helm registry login|"
        "(?:docker|podman|nerdctl|buildah|skopeo|oras|crane auth) login",
        "-[paw]",
    ),
    _option("ipmitool|sqlcmd|bcp|zip|unzip", "-P"),
    _option("7za?|unrar|rar", "-p"),
    _option("openssl", "-[kK]"),
    _option("ssh-keygen", "-[NP]"),
    _option("gh secret set", "(?:-b|--body)"),
)
_PATTERNS = (
    _LOGIN,
    _HTTPIE,
    _COOKIE,
    _USERS,
    _WINDOWS,
    _PIPED,
    *(re.compile(rf"(?P<before>{before}){_WORD}") for before in _BEHIND),
)
_VAULT = re.compile(r"(\bvault[ \t]{1,8}(?:kv[ \t]{1,8})?(?:put|write|patch)[ \t]{1,8})([^\n|;&]{1,2000})")
_PAIR = re.compile(r"(?P<before>(?<!\S)[\"']?[\w.-]{1,100}=)" + _WORD)


def redact(text: str) -> str:
    """Without what these options give."""
    for pattern in _PATTERNS:
        text = pattern.sub(without_value, text)
    return _VAULT.sub(lambda found: found[1] + _PAIR.sub(without_value, found[2]), text)
