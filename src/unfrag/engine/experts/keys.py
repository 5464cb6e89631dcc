"""What tells one block's routes from another's: vLLM's block hashes, an adapter's files, the model's weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unfrag.engine.vllm import features, moe

if TYPE_CHECKING:
    from unfrag.engine.experts.store import Shape


class Hashes:
    """A request's block hashes as they grow; with an adapter, mixed with ``adapter``, what it holds.

    None of them where they do not tell enough: of an adapter that is not known, and of a session (``resumable``), whose
    last tokens may be replaced.
    """

    def __init__(self, request: Any, adapter: bytes | None) -> None:
        self._request, self._adapter = request, adapter
        self._none = request.resumable or (request.lora_request is not None and adapter is None)

    def __len__(self) -> int:
        return 0 if self._none else len(self._request.block_hashes)

    def __getitem__(self, block: int) -> bytes:
        found = bytes(self._request.block_hashes[block])
        return found if self._adapter is None else hashlib.sha256(found + self._adapter).digest()


class Adapters:
    """Digests of adapters' files, since vLLM's hash knows an adapter by its name and path alone."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[str, bytes]] = {}

    def digest(self, lora_request: Any) -> bytes | None:
        """Of all files in its folder, as they were when its number was first used, which is when vLLM loads it.

        None, so that its requests are not cached, when they cannot be read or were changed since: nobody can tell then
        which of them the engine has.
        """
        try:
            files = sorted(file for file in Path(lora_request.lora_path).iterdir() if file.is_file())
            stamp = repr([(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files])
            known = self._known.get(lora_request.lora_int_id)
            if known is None or (known[0] != stamp and getattr(lora_request, "load_inplace", False)):
                digest = hashlib.sha256()
                for file in files:
                    with file.open("rb") as handle:
                        digest.update(hashlib.file_digest(handle, "sha256").digest())
                known = self._known[lora_request.lora_int_id] = stamp, digest.digest()
        except OSError:
            return None
        return known[1] if known[0] == stamp else None


def namespace(config: Any, shape: Shape, weights: list[str]) -> bytes:
    """What all routes of a file have in common: model, weights of every rank, vLLM, and how blocks are hashed."""
    said = (
        features.version(),
        config.model_config.hf_config.to_json_string(),
        str(config.model_config.dtype),
        str(config.model_config.quantization),
        str(config.cache_config.cache_dtype),
        config.cache_config.prefix_caching_hash_algo,
        moe.hash_seed(config),
        tuple(shape),
        weights,
    )
    return hashlib.sha256(repr(said).encode()).digest()
