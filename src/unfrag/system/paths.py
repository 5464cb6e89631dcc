"""Where unfrag keeps what it makes: a cache that may be deleted at any time, and state that may not."""

from __future__ import annotations

import os
from pathlib import Path


def _home(variable: str, fallback: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / fallback) / "unfrag"


def cache_dir() -> Path:
    """Things that can be made again (the rig's model). ``UNFRAG_CACHE`` overrides the XDG place."""
    return Path(os.environ.get("UNFRAG_CACHE") or _home("XDG_CACHE_HOME", ".cache"))


def state_dir() -> Path:
    """Things that cannot be made again (backups, results). ``UNFRAG_STATE`` overrides."""
    return Path(os.environ.get("UNFRAG_STATE") or _home("XDG_STATE_HOME", ".local/state"))
