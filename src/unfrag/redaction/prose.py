"""Secrets in a sentence: "the password is K", and what a chat's template puts around a question."""

from __future__ import annotations

import re

from unfrag.redaction.taken import closed, instead, without_value

_VALUE = r"(?P<quote>[\"'`]?)(?P<value>[^\s\"'`]{3,200}?)(?=[.,;:!?)]*(?:[\s\"'`]|$))"
_SURE = re.compile(
    r"(?i)(?P<before>\b(?:pass(?:word|phrase|code|wd)|pwd|kennwort|mot de passe|contraseña)s?\b"
    r"(?:[ \t]+(?!(?:is|was|are)\b)\w{1,20}){0,4}?[ \t]{1,4}(?:is|was|are|to|as|ist|lautet|est|es|=|:)[ \t]{1,4})"
    + _VALUE
)
_LIKELY = re.compile(
    r"(?i)(?P<before>\b(?:pass(?:word|phrase|code|wd)|pwd|api[ -]?key|access[ -]key|secret|credential|token|key|login|pin)s?\b"
    r"(?:[ \t]+(?!(?:is|was|are)\b)\w{1,20}){0,4}?[ \t]{1,4}(?:is|was|are|to|=|:)?[ \t]{0,4})" + _VALUE
)
_NETRC = re.compile(r"(?i)(?P<before>\blogin[ \t]{1,8}\S{1,100}\s{1,32}(?:password|passwd)[ \t]{1,8})" + _VALUE)
_CHINESE = re.compile(
    r"(?P<before>(?:密码|密钥|口令|令牌|秘钥)[\w\s]{0,6}?(?:是|为|：|:|=)\s{0,3}(?P<quote>[\"'“「]?))(?P<value>[^\s，。,;；\"'”」]{2,200})"
)
_BEARER = re.compile(r"(?i)(?P<before>\bbearer[ \t]{1,4}(?P<quote>))(?P<value>[\w.~+/=!@#%^*-]{8,2000})")
_ADMIN = re.compile(
    r"(?P<before>(?<![\w/@.-])(?:admin|root|postgres|default)(?P<quote>):)(?P<value>(?!/)(?:(?=[^\s\"':/@]{0,200}\d)[^\s\"':]{6,200}|[^\s\"':/@]{6,200}))(?![\w:/])"
)
_CHAT = re.compile(
    r"(?P<before><\|im_start\|>(?:user|system|assistant)?|\[INST\]|<start_of_turn>(?:user|model)|<\|(?:user|system|assistant|observation|tool)\|>|<｜(?:User|Assistant|System)｜>|<\|start_header_id\|>\w{1,20}<\|end_header_id\|>|\#\#\# ?(?:Instruction|Input|Question|User|Human|Response)s?:)"
    r"(?P<value>(?:(?!<[|｜]|\#\#\# |\[/?INST|<end_of|<start_of).){1,4000})",
    re.DOTALL,
)
_CHINESE_TEXT = re.compile(
    r"(?P<before>(?:用户|问题|提示词?|请求内容|内容|输入|消息|提问)\s{0,2}[:：=]?\s{0,3})(?P<value>[^\n]{2,4000})"
)
_LOOKS_SECRET = re.compile(r"\A(?=[^\s]*\d)(?=[^\s]*[A-Za-z])[\w.~+/=@!#$%^&*-]{6,}$")
_ODD = re.compile(r"[a-z][A-Z].{0,200}?[a-z][A-Z]|[a-z][A-Z][a-z]*[0-9]")
_HARMLESS = re.compile(r"(?i)\A(?:(?:\d+(?:\.\d+)?[kmg]?|[a-z_]+\d?|\[taken)$|.*[\[(]|\$)")


def redact(text: str) -> str:
    """Without "the password is K" and what was asked."""
    for pattern in (_NETRC, _CHINESE, _ADMIN, _BEARER):
        text = pattern.sub(without_value, text)
    for pattern in (_CHAT, _CHINESE_TEXT):
        text = pattern.sub(lambda found: found["before"] + instead(found["value"]), text)
    text = _SURE.sub(_sure, text)
    return _LIKELY.sub(_likely, text)


def _sure(found: re.Match[str]) -> str:
    harmless = found["value"].lower() in (
        "not",
        "no",
        "wrong",
        "invalid",
        "required",
        "missing",
        "be",
        "the",
        "a",
        "empty",
    )
    return found[0] if harmless or found["value"].startswith("[taken") else closed(found)


def _likely(found: re.Match[str]) -> str:
    value = found["value"]
    odd = (found["quote"] or "pass" in found["before"].lower()) and _ODD.search(value)
    is_path = "/" in value and not found["quote"]
    secret = odd or (_LOOKS_SECRET.match(value) and not is_path and not _HARMLESS.match(value))
    return closed(found) if secret else found[0]
