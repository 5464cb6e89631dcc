"""Who may call a route that changes something."""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import Request
    from starlette.datastructures import Headers

TOKEN_VARIABLE = "UNFRAG_TOKEN"
# Whoever sends one of these passes on another's request, or says so.
_PASSED_ON = (
    *("forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "x-original-forwarded-for"),
    *("true-client-ip", "cf-connecting-ip", "fastly-client-ip", "x-envoy-external-address", "x-remote-addr"),
)
_HOST = r"(?:\[(?P<six>[0-9a-f:.]{2,45})\]|(?P<name>[a-z0-9.-]{1,253}))(?::[0-9]{1,5})?"
_HOST_HEADER = re.compile(_HOST, re.IGNORECASE)
_ORIGIN = re.compile(f"https?://{_HOST}", re.IGNORECASE)


def refusal(request: Request) -> str | None:
    """Why this caller may not, or None when it may.

    Allowed: a caller on this machine, or one with ``Authorization: Bearer $UNFRAG_TOKEN`` when that is set.

    A request that a proxy passed on comes from the proxy's address, so with any header of a proxy only the token
    counts, whatever that header says. A web page opened on this machine also calls from loopback; its browser sends
    ``Origin``: a foreign one is refused, and so is a ``Host`` that is no plain name of this machine.
    """
    headers = request.headers
    token = os.environ.get(TOKEN_VARIABLE)
    sent = headers.get("authorization", "")
    if token and hmac.compare_digest(sent.encode(), f"Bearer {token}".encode()):
        return None
    if not _is_loopback(request.client.host if request.client else ""):
        return f"only callers on this machine may do this, or ones with the bearer token of {TOKEN_VARIABLE}"
    if (header := _of_a_proxy(headers)) is not None:
        return f"a proxy passed this on ({header}): the bearer token of {TOKEN_VARIABLE} is wanted"
    hosts = headers.getlist("host")
    if len(hosts) > 1 or not all(_names_this_machine(_HOST_HEADER, host) for host in hosts):
        return "ask for it by this machine's own name (127.0.0.1), or with the bearer token"
    if not all(_names_this_machine(_ORIGIN, origin) for origin in headers.getlist("origin")):
        return "a web page of another site may not do this"
    return None


def _of_a_proxy(headers: Headers) -> str | None:
    """The first header that says that a proxy stands between."""
    return next((name for name in headers if name in _PASSED_ON or name.startswith("x-forwarded-")), None)


def _names_this_machine(pattern: re.Pattern[str], said: str) -> bool:
    found = pattern.fullmatch(said)
    return found is not None and _is_loopback(found["six"] or found["name"])


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
