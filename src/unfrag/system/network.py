"""This machine's own addresses."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import psutil


def is_here(url: str) -> bool:
    """Is this URL's server on this machine, by its name or one of the machine's addresses?"""
    name = urlsplit(url).hostname or ""
    mine = {address.address.split("%")[0] for found in psutil.net_if_addrs().values() for address in found}
    return name in {"localhost", "127.0.0.1", "::1", socket.gethostname(), *mine}
