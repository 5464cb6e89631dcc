"""Facts and texts that come with the package, as files beside the code that reads them."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any


def text(package: str, name: str) -> str:
    """A file by its path in a package of ours, such as ``unfrag.plan`` and ``cards.toml``."""
    return resources.files(package).joinpath(*name.split("/")).read_text("utf-8")


@cache
def table(package: str, name: str) -> dict[str, Any]:
    """A TOML file, read once."""
    return tomllib.loads(text(package, name))


def exists(package: str, name: str) -> bool:
    """Is there such a file?"""
    return resources.files(package).joinpath(*name.split("/")).is_file()
