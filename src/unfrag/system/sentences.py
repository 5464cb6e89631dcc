"""Texts that are put one after the other, each of which may end with a mark or with none."""

from __future__ import annotations


def sentences(*texts: str) -> str:
    """Each has one mark at its end, but the last, which stays as it is. Empty ones are left out."""
    *before, last = filter(None, texts)
    return " ".join([text if text.endswith((".", "?", "!")) else f"{text}." for text in before] + [last])
