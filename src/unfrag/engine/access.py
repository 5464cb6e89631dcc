"""Who may call a route that changes something."""

from __future__ import annotations

import hmac
import ipaddress
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from fastapi import Request

TOKEN_VARIABLE = "UNFRAG_TOKEN"


def refusal(request: Request) -> str | None:
    """Why this caller may not, or None when it may.

    Allowed: a caller on this machine, or one with ``Authorization: Bearer $UNFRAG_TOKEN`` when that is set.
    A web page opened on this machine also calls from loopback; its browser sends ``Origin``: a foreign one is refused.
    """
    token = os.environ.get(TOKEN_VARIABLE)
    sent = request.headers.get("authorization", "")
    if token and hmac.compare_digest(sent.encode(), f"Bearer {token}".encode()):
        return None
    if not _is_loopback(request.client.host if request.client else ""):
        return f"only callers on this machine may do this, or ones with the bearer token of {TOKEN_VARIABLE}"
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname
    if host and not _is_loopback(host):
        return f"ask for it by this machine's own name (127.0.0.1), not as {host}, or with the bearer token"
    origin = request.headers.get("origin")
    if origin is not None and not _is_loopback(urlsplit(origin).hostname or ""):
        return "a web page of another site may not do this"
    return None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
