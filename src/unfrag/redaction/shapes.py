"""Tokens that are known by their form alone: those that detect-secrets knows, newer ones, and what looks random."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module

from unfrag.redaction.taken import TAKEN

_WORD = re.compile(r"[^\s\"'`<>]{10,}")
_LONGEST = 1_000
# Of detect-secrets those plugins that know a form; its others go by names, or by randomness alone.
_PLUGINS = {
    "aws": "AWSKeyDetector",
    "azure_storage_key": "AzureStorageKeyDetector",
    "discord": "DiscordBotTokenDetector",
    "github_token": "GitHubTokenDetector",
    "gitlab_token": "GitLabTokenDetector",
    "jwt": "JwtTokenDetector",
    "mailchimp": "MailchimpDetector",
    "npm": "NpmDetector",
    "openai": "OpenAIDetector",
    "pypi_token": "PypiTokenDetector",
    "sendgrid": "SendGridDetector",
    "slack": "SlackDetector",
    "square_oauth": "SquareOAuthDetector",
    "stripe": "StripeDetector",
    "telegram_token": "TelegramBotTokenDetector",
    "twilio": "TwilioKeyDetector",
}
# Of makers that came later, and shorter ones: a prefix, then what no word is made of.
_PREFIXES = re.compile(
    r"(?<![A-Za-z0-9_])(?=[\w.~:-]{0,80}(?:\d|[a-z][A-Z]))(?:"
    r"(?:hf|api_org)_[A-Za-z0-9]{8,}|(?:gh[pousr]|github_pat)_\w{10,}|gl(?:pat|dt|rt|ft|soat|cbt|ptt|agent|oas|imt)-[\w.-]{8,}"
    r"|sk-(?:ant|proj|or|svcacct|admin|live|test|None|lf)-[\w-]{6,}|[ps]k-(?=[\w-]{0,40}\d)[A-Za-z0-9]{12,}[\w-]*|sk-(?=[\w-]{0,40}\d[\w-]{0,40}\d)[\w-]{16,}"
    r"|(?:sk|rk|pk|whsec)_(?:live|test)?_?[A-Za-z0-9]{10,}|nvapi-[\w-]{8,}|gsk_\w{8,}|xai-[\w-]{8,}|pplx-\w{8,}|r8_\w{8,}|fw_\w{16,}|tgp_v1_[\w-]{8,}|csk-\w{8,}|jina_\w{8,}|voy?-\w{16,}"
    r"|AIza[\w-]{10,}|ya29\.[\w.-]{8,}|GOCSPX-[\w-]{8,}|(?:AKIA|ASIA|ABIA|ACCA|AGPA|AROA|AIDA)[A-Z0-9]{8,}|LTAI[A-Za-z0-9]{10,}|AKID[A-Za-z0-9]{10,}"
    r"|xox[abeoprs]-[\w-]{6,}|xapp-[\w-]{6,}|dapi[0-9a-f]{10,}|dop_v1_\w{8,}|do[or]_v1_\w{8,}|hv[sbr]\.[\w-]{8,}|s\.[A-Za-z0-9]{24}\b"
    r"|npm_\w{10,}|pypi-[\w-]{10,}|dckr_(?:pat|oat)_[\w-]{8,}|SG\.[\w-]{8,}\.[\w-]{8,}|key-[0-9a-f]{16,}|lin_api_\w{8,}|ntn_\w{8,}|secret_[A-Za-z0-9]{16,}|figd_[\w-]{8,}"
    r"|glsa_\w{8,}|glc_[\w=]{8,}|NRAK-\w{8,}|dd[ap]_?\w{30,}|sntry[su]_\w{8,}|lsv2_\w{8,}|wandb_v1_\w{8,}|ms-[0-9a-f]{8}-[0-9a-f-]{8,}|tskey-[\w-]{8,}|rpa_\w{12,}|sbp_\w{10,}|eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?"
    r"|AGE-SECRET-KEY-\w+|PMAK-[\w-]{10,}|shp(?:at|ss|ca)_\w{8,}|EAA[A-Za-z0-9]{20,}|\d{8,10}:AA[\w-]{20,}|T3BlbkFJ\w+|sha256~[\w-]{20,}|K00[A-Za-z0-9+/]{20,}"
    r")"
)
_HOOK = re.compile(
    r"(?<=://)(?:hooks\.slack\.com/(?:services|workflows)|discord(?:app)?\.com/api/webhooks|[\w.-]{1,80}/webhook(?:s|bot)?|outlook\.office\.com/webhook|oapi\.dingtalk\.com/robot)/[^\s\"'`<>]{6,400}"
)
_RUN = re.compile(r"(?<![A-Za-z0-9_])[A-Za-z0-9+/]{20,}={0,2}(?![A-Za-z0-9_])")
_TURNS = re.compile(r"[a-z][A-Z]|[A-Z][a-z][A-Z]|[A-Za-z]\d|\d[A-Za-z]")
_FEWEST_TURNS = 0.28


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    found: list[re.Pattern[str]] = []
    for module, name in _PLUGINS.items():
        found += getattr(import_module(f"detect_secrets.plugins.{module}"), name).denylist
    return tuple(pattern for pattern in found if "{0,20}" not in pattern.pattern)


def redact(text: str) -> str:
    """Without tokens, word by word."""
    text = _HOOK.sub(lambda found: found[0].split("/")[0] + "/" + TAKEN, text)
    return _WORD.sub(_word, text)


def _word(found: re.Match[str]) -> str:
    word = found[0]
    if len(word) > _LONGEST:
        return "".join(_token(word[at : at + _LONGEST]) for at in range(0, len(word), _LONGEST))
    return _token(word)


def _token(word: str) -> str:
    word = _PREFIXES.sub(TAKEN, word)
    for pattern in _patterns():
        word = pattern.sub(TAKEN, word)
    return _RUN.sub(_random, word)


def _random(found: re.Match[str]) -> str:
    """A long run of letters and digits that change places as in no name."""
    run = found[0]
    mixed = sum(c.isdigit() for c in run) >= 2 and any(c.islower() for c in run) and any(c.isupper() for c in run)
    return TAKEN if mixed and "/" not in run[:1] and len(_TURNS.findall(run)) >= _FEWEST_TURNS * len(run) else run
