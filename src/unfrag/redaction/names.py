"""Which names stand before a secret, and which before what a user wrote."""

from __future__ import annotations

import re
from functools import lru_cache

_PIECE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_STRONG = frozenset(
    "password passwords passwd passwort passphrase passcode pwd pw secret secrets credential credentials cred creds auth "
    "authorization bearer cookie jwt apikey apikeys authkey accesskey secretkey privatekey authtoken sshpass otp totp "
    "signature sig sas hmac psk salt requirepass masterauth".split()
)
_SAYS_ABOUT = frozenset(
    "type mode enabled enable file path dir url uri endpoint name method provider backend policy ttl expiry length len "
    "count size version required manager store class error failed scheme algorithm stdin".split()
)
# Behind a secret's name in an environment: API_KEY_PROD, TOKEN_V2.
_WHICH = frozenset(
    "prod production dev staging stage test live old new backup read write readonly primary secondary b v base".split()
)
_DEFINED = re.compile(r"^-D(?=[A-Za-z])")
_OF_GIT = ("gh", "github", "gitlab", "git", "ado", "azure", "devops")
_HEADERS = ("cookie", "authorization")
_NO_KEY = frozenset(
    "cache kv primary foreign sort dict hash block state public num prefix metric lookup partition map group row "
    "hot on query index unique object request session_state param weight layer missing unexpected routing".split()
)
_NO_TOKEN = frozenset(
    "eos bos pad unk sep cls mask image video audio special stop start end num per max min next prompt placeholder tool "
    "begin new draft cached each one first last input output time think reasoning decode prefill bonus target".split()
)
_NO_PASS = frozenset("forward backward one two multi single each first second warmup compile fusion inductor".split())
_JOINED = re.compile(
    r"(?<!\w)(?:\w{2,}(?:PASS|PWD|TOKEN|SECRET|AUTH|KEY|PASSWORD))$|(?i:(?:api|my|access|auth|secret|private|master|sign\w{0,20}|enc\w{0,20}|account|license|db|ssh)key)$|(?<!\w)(?i:\w*passw(?:or)?d)$"
    r"|(?i:(?:csrf|xsrf|api|auth|access|refresh|id|session|hub|hf|oauth|bearer)token|x-session-id)$"
)
_OF_USERS = frozenset(
    "prompt prompts messages content contents text texts input inputs query queries question questions instruction "
    "instructions document documents passage passages argument arguments output outputs response completion completions "
    "generated_text generated system user assistant reasoning_content tool_calls function_call answer answers "
    "input_value input_text output_text user_input user_message system_message transcript caption chat body payload "
    "guided_choice guided_regex guided_grammar guided_json structured_outputs stop stop_strings transcription human chat_template_kwargs bad_words messages_json conversation history".split()
)
_ENDS_OF_USERS = (
    "prompt",
    "prompts",
    "text",
    "texts",
    "query",
    "question",
    "instruction",
    "instructions",
    "token_ids",
    "messages",
)
_NO_TEXT = ("max", "num", "mean", "n", "avg", "total", "min", "p50", "p95")


def _pieces(name: str) -> list[str]:
    """In lower case, without a number at the end, and without what says which one it is."""
    pieces = [piece.lower() for piece in _PIECE.findall(name)]
    is_variable = name != name.lower()
    while len(pieces) > 1 and (pieces[-1].isdigit() or (is_variable and pieces[-1] in _WHICH)):
        pieces.pop()
    return pieces


def is_header(name: str) -> bool:
    """Is its whole value secret, up to the end of the header: ``Cookie: a=1; b=2``?"""
    return _pieces(name)[-1:] in ([header] for header in _HEADERS)


@lru_cache(1 << 14)
def is_secret(name: str) -> bool:
    """``DB_PASS``, ``apiKey``, ``--hf-token``; not ``eos_token`` and ``cache_key``."""
    name = _DEFINED.sub("", name)
    pieces = _pieces(name)
    if not pieces:
        return False
    last, before = pieces[-1], pieces[-2] if len(pieces) > 1 else ""
    if last in _SAYS_ABOUT:
        return False
    if any(piece in _STRONG for piece in pieces):
        return True
    if last in ("key", "keys", "pass", "token"):
        not_secret = {"pass": _NO_PASS, "token": _NO_TOKEN}.get(last, _NO_KEY)
        return before not in not_secret and (len(pieces) > 1 or last != "keys")
    if last == "tokens":
        return before in ("api", "auth", "access", "bearer", "hf", "hub")
    if last == "headers":
        return before not in ("", "allowed", "response", "expose", "request")
    if last == "pat":
        return before in _OF_GIT
    return last == "pin" or bool(_JOINED.search(name.rstrip("0123456789")))


@lru_cache(1 << 14)
def is_weak(name: str) -> bool:
    """May the name stand before something harmless as well, which its value then shows?"""
    pieces = [piece.lower() for piece in _PIECE.findall(name)]
    return pieces[-1:] in (["token"], ["tokens"]) or pieces in (["key"], ["sig"], ["pw"], ["pass"], ["signature"])


@lru_cache(1 << 14)
def is_of_users(name: str) -> bool:
    """``prompt``, ``input_value``, ``prompt_token_ids``; not ``max_prompt``."""
    said = name.strip("-").rpartition(".")[2].lower().replace("-", "_")
    if said in _OF_USERS:
        return True
    parts = said.split("_")
    return parts[0] not in _NO_TEXT and any(said.endswith(f"_{end}") for end in _ENDS_OF_USERS)
