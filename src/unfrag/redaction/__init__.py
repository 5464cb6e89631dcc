"""Take secrets out of a text that people are to read: keys, passwords and what users asked. All else stays.

This forbids what is known to be secret, so that a configuration or a command line stays readable. A capture, which is
made to be passed on, keeps only what is known to be harmless (``unfrag.doctor.allowed``).

``names``      which names stand before a secret
``values``     where the value of a name ends
``named``      values by their name: ``api_key: K``, ``--api-key K``, ``["--api-key", "K"]``
``addresses``  logins and signatures in URLs and DSNs
``blocks``     secrets of several lines: private keys, Kubernetes' Secrets
``options``    values behind options of well-known programs: ``curl -u me:K``
``prose``      "the password is K"
``shapes``     tokens that are known by their form alone
"""

from __future__ import annotations

from unfrag.redaction import addresses, blocks, named, options, prose, shapes
from unfrag.redaction.taken import TAKEN

__all__ = ["TAKEN", "redact"]

_STEPS = (blocks.redact, addresses.redact, named.redact, options.redact, prose.redact, shapes.redact)


def redact(text: str) -> str:
    """The text without what people asked, tokens, keys and passwords, in as many lines. Sizes and flags stay."""
    for step in _STEPS:
        text = step(text)
    return text
