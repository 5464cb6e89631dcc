"""Made-up keys and prompts in all the places where they turn up, from ``planted.txt``."""

import base64
import random
import re
import string
from pathlib import Path
from urllib.parse import quote

ASKED = "why does aunt Mathilde keep seventeen pelicans beside Dorothea's greenhouse"
ASKED_CN = "王阿姨为什么养十七只鹈鹕"
TELLING = ("Mathilde", "pelicans", "Dorothea", "greenhouse", "aunt", "阿姨", "鹈鹕")
LETTERS = string.ascii_letters + string.digits
# What a token of each maker begins with, and how many letters follow; put together only here.
_MAKERS = {
    "hub": ("hf" + "_", 34),
    "github": ("gh" + "p_", 36),
    "pat": ("github" + "_pat_", 40),
    "action": ("gh" + "s_", 36),
    "gitlab": ("gl" + "pat-", 20),
    "nvidia": ("nv" + "api-", 60),
    "groq": ("gs" + "k_", 50),
    "google": ("AI" + "za", 35),
    "openai": ("s" + "k-", 48),
    "project": ("s" + "k-proj-", 60),
    "anthropic": ("s" + "k-ant-api03-", 60),
    "slack": ("xo" + "xb-12345678901-", 24),
    "aws": ("AK" + "IA", 16),
    "stripe": ("s" + "k_live_", 24),
    "pypi": ("py" + "pi-AgE", 60),
    "npm": ("np" + "m_", 36),
    "replicate": ("r" + "8_", 37),
    "databricks": ("da" + "pi", 32),
    "vault": ("hv" + "s.", 24),
    "docker": ("dc" + "kr_pat_", 27),
}


class Planted:
    """One context filled in: the text, and the words that must not be left."""

    def __init__(self, context, seed=0, key=None):
        self._random = random.Random(f"{context}{seed}")
        self.secrets = []
        self._key = key
        self.text = re.sub(r"\{(KEY|B64|PEM1?|PROMPT(?:_URL|_CN)?|TOKEN:\w+)\}", self._fill, context).replace("⏎", "\n")

    def left_in(self, text):
        return [secret for secret in self.secrets if secret in text]

    def _letters(self, count, of=LETTERS):
        return "".join(self._random.choice(of) for _ in range(count))

    def _fill(self, found):
        kind, _, maker = found[1].partition(":")
        if kind.startswith("PROMPT"):
            self.secrets += TELLING
            return {"PROMPT": ASKED, "PROMPT_URL": quote(ASKED), "PROMPT_CN": ASKED_CN}[kind]
        if kind.startswith("PEM"):
            lines = [self._letters(64) for _ in range(3)]
            self.secrets += lines
            name = "PRIVATE" + " KEY-----"
            between = "\\n" if kind == "PEM1" else "\n(EngineCore pid=9) INFO 11-22 10:00:00 [core.py:3] "
            return between.join([f"-----BEGIN {name}", *lines, f"-----END {name}"])
        secret = self._secret(kind, maker)
        self.secrets.append(secret)
        return f"https://hooks.slack.com/services/{secret}" if maker == "hook" else secret

    def _secret(self, kind, maker):
        if kind == "KEY":
            return self._key or self._random.choice(["fakeKey", "hunter", "Fake-pass-", "t0psecret_"]) + self._letters(
                6
            )
        if kind == "B64":
            return base64.b64encode(self._letters(30).encode()).decode()
        if maker == "hook":
            return f"T{self._letters(8)}/B{self._letters(8)}/{self._letters(24)}"
        if maker == "jwt":
            return ".".join("ey" + "J" + self._letters(30) for _ in range(2)) + "." + self._letters(40)
        if maker == "sendgrid":
            return "S" + "G." + self._letters(22) + "." + self._letters(43)
        if maker == "telegram":
            return self._letters(10, "123456789") + ":AA" + self._letters(33)
        begin, count = _MAKERS[maker]
        return begin + self._letters(
            count,
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
            if maker == "aws"
            else "abcdef0123456789"
            if maker == "databricks"
            else LETTERS,
        )


def contexts(part):
    """The lines of one part of ``planted.txt``."""
    found = {}
    for line in (Path(__file__).parent / "planted.txt").read_text().splitlines():
        if re.fullmatch(r"\[\w+\]", line):
            now = found.setdefault(line[1:-1], [])
        elif line and not line.startswith("#"):
            now.append(line)
    return found[part]
