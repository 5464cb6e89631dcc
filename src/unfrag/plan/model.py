"""Where a model's configuration comes from: a folder, a file, the hub's cache on this disk, or the hub."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import httpx
import msgspec

from unfrag.errors import NotEnoughEvidence, UsageError
from unfrag.system import paths
from unfrag.system.decode import decoded
from unfrag.system.files import read_file, write_atomically

_LARGEST, _LARGEST_INDEX = 8 << 20, 64 << 20
_INDEX = "model.safetensors.index.json"
_HUB_SECONDS = 10.0


class _Metadata(msgspec.Struct):
    total_size: float


class _Index(msgspec.Struct):
    """As far as it is read; the map of tensors is passed over."""

    metadata: _Metadata


class Model(msgspec.Struct, frozen=True):
    """``weights_bytes``: of all its tensors, by its safetensors; None where they are not at hand."""

    config: Any
    name: str
    weights_bytes: int | None = None


def find(said: str) -> Model:
    """What ``--config`` names: a ``config.json``, its folder, or a model's id on the hub.

    Raises:
        UsageError: no such file, or no JSON.
        NotEnoughEvidence: an id that is neither on this disk nor to be had from the hub.
    """
    path = Path(said)
    try:
        there = path.exists()
    except OSError as fault:
        raise UsageError(f"--config {said[:200]}: {fault.strerror}") from fault
    if there:
        return _of_folder(path)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", said) and not said.startswith((".", "/")) and path.suffix != ".json":
        return _of_hub(said)
    raise UsageError(f"--config {said}: no such file")


def _of_folder(path: Path) -> Model:
    file = path / "config.json" if path.is_dir() else path
    folder = file.parent
    name = str(path if path.is_dir() else folder if file.name == "config.json" else file.with_suffix(""))
    return Model(_read(file), name, _weights(folder))


def _read(file: Path) -> Any:
    try:
        if not file.is_file():
            raise UsageError(f"--config {file}: no such file")
    except OSError as fault:
        raise UsageError(f"--config {file}: {fault.strerror}") from fault
    return decoded(read_file(file, _LARGEST), f"--config {file}")


def _weights(folder: Path) -> int | None:
    """By the index, else by the files themselves."""
    try:
        total = decoded(read_file(folder / _INDEX, _LARGEST_INDEX), _INDEX, _Index).metadata.total_size
        if 0 < total < 2**53:
            return int(total)
    except UsageError:
        pass  # none, or none that says it
    try:
        return sum(file.stat().st_size for file in folder.glob("*.safetensors")) or None
    except OSError:
        return None


def _of_hub(name: str) -> Model:
    if (folder := _snapshot(name)) is not None:
        return Model(_read(folder / "config.json"), name, _weights(folder))
    kept = paths.cache_dir() / "models" / name.replace("/", "--")
    if not (kept / "config.json").is_file():
        _fetch(name, kept)
    return Model(_read(kept / "config.json"), name, _weights(kept))


def _snapshot(name: str) -> Path | None:
    """The newest copy in the hub's cache on this disk (``models--ORG--NAME/snapshots/REVISION``)."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    try:
        copies = [
            file.parent for file in (cache / f"models--{name.replace('/', '--')}").glob("snapshots/*/config.json")
        ]
        return max(copies, key=lambda folder: folder.stat().st_mtime, default=None)
    except OSError:
        return None


def _fetch(name: str, to: Path) -> None:
    """The configuration, and the weights' index where there is one; nothing else is loaded."""
    advice = "give its config.json instead: --config FILE"
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        raise NotEnoughEvidence(f"{name} is not on this disk, and HF_HUB_OFFLINE forbids asking; {advice}")
    hub = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    token = os.environ.get("HF_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with httpx.Client(timeout=_HUB_SECONDS, follow_redirects=True, headers=headers) as client:
            answer = client.get(f"{hub}/{name}/resolve/main/config.json")
            if answer.status_code != httpx.codes.OK:
                raise NotEnoughEvidence(f"the hub answers {answer.status_code} for {name}; {advice}")
            index = client.get(f"{hub}/{name}/resolve/main/{_INDEX}")
    except (httpx.HTTPError, httpx.InvalidURL) as fault:
        raise NotEnoughEvidence(f"{name}: the hub cannot be reached ({fault}); {advice}") from fault
    try:
        to.mkdir(parents=True, exist_ok=True)
        if index.status_code == httpx.codes.OK:
            write_atomically(to / _INDEX, index.content)
        write_atomically(to / "config.json", answer.content)
    except OSError as fault:
        raise UsageError(f"{to}: {fault.strerror}; set XDG_CACHE_HOME to a folder that can be written") from fault
