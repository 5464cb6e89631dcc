"""Facts and texts that come with the package, as files."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any


def text(name: str) -> str:
    """A file of this folder, by its path in it."""
    return resources.files(__name__).joinpath(*name.split("/")).read_text("utf-8")


@cache
def table(name: str) -> dict[str, Any]:
    """A TOML file of this folder, read once."""
    return tomllib.loads(text(name))
