"""What the engine core asks of each rank's worker. None of it raises: answers of several ranks must stay in step."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from unfrag.engine.experts.file import RouteFile, UnusableFile
from unfrag.engine.experts.routers import Replay
from unfrag.engine.experts.store import Shape, Store
from unfrag.engine.vllm import moe

if TYPE_CHECKING:
    from collections.abc import Iterator

# Models whose block asks its gate and hands the answer to the experts unread, so that a gate may answer nothing.
_GATE_SKIPPED = {"Glm4MoE"}
# Routers that keep something of their own from one call to the next, or do not look at the token.
_STATEFUL = {"ZeroExpertRouter", "RoutingSimulatorRouter", "AiterSharedRoutedFusedMoERouter"}


class Looked(NamedTuple):
    """A rank's answer: why it cannot, or the shape of its routes and what tells its weights from others."""

    refusal: str | None
    shape: Shape | None = None
    weights: str = ""


class Installed(NamedTuple):
    """``file``: why the file was not used. ``blocks``: what was in it and whole; ``damaged``: how many were not."""

    fault: str | None
    file: str | None = None
    blocks: tuple[tuple[int, bytes], ...] = ()
    damaged: int = 0


def look(worker: Any, block_tokens: int, weigh: bool) -> Looked:
    """Can this rank's routes be kept and served? With ``weigh``, a digest of its weights: reads all of them."""
    try:
        refusal = next(_refusals(worker), None)
        if refusal is not None:
            return Looked(refusal)
        routers = [layer.router for layer in moe.layers(worker)]
        id_bytes = 1 if routers[0].global_num_experts <= 256 else 2
        shape = Shape(len(routers), routers[0].top_k, id_bytes, block_tokens)
        weights = hashlib.sha256(repr(sorted(worker.compute_weight_checksums().items())).encode()) if weigh else None
        return Looked(None, shape, weights.hexdigest() if weights else "")
    except Exception as fault:
        return Looked(f"{type(fault).__name__}: {fault}")


def install(
    worker: Any, shape: Shape, slots: int, verify_every: int, file: str | None = None, namespace: bytes = b""
) -> Installed:
    """Wrap this rank's routers. A file that cannot be used is told and left alone: the store is in memory then."""
    try:
        unusable, damaged = None, 0
        whole: list[tuple[int, bytes]] = []
        store = Store(shape, slots)
        if file is not None:
            try:
                kept = RouteFile(Path(file), shape, slots, namespace, write=worker.rank == 0)
                whole, damaged = store.load(kept)
                if worker.rank == 0:
                    store.keep_in(kept, whole)
                else:
                    kept.close()
            except UnusableFile as why:
                unusable = str(why)
        gates = [module.gate for module in worker.get_model().modules() if _GATE_SKIPPED & _kinds(module)]
        worker.unfrag_routes = Replay(worker.model_runner, moe.layers(worker), gates, store, verify_every)
        worker.shutdown = functools.partial(_shut_down, worker, worker.shutdown)
        return Installed(None, unusable, tuple(whole), damaged)
    except Exception as fault:
        return Installed(f"{type(fault).__name__}: {fault}")


def drop_file(worker: Any) -> None:
    """Go on in memory: the ranks did not all have the same in their files."""
    worker.unfrag_routes.store.close()


def forget(worker: Any) -> None:
    """The weights may be others now: nothing that the file holds counts, and its name for them does not either."""
    _settle(worker.unfrag_routes)
    worker.unfrag_routes.store.forget()


def _shut_down(worker: Any, stock: Any) -> None:
    """The file is free for the next server also while this process lives on."""
    _settle(worker.unfrag_routes)
    worker.unfrag_routes.store.close()
    stock()


def _settle(replay: Replay) -> None:
    try:
        replay.settle()
    except Exception as fault:
        replay.off = replay.off or f"{type(fault).__name__}: {fault}"


def counts(worker: Any) -> dict[str, Any]:
    """Of this rank since the start; rows are tokens, flips are tokens times layers. ``load`` is ``(layers, experts)``.

    ``layers`` are the model's numbers of its MoE layers.
    """
    replay: Replay = worker.unfrag_routes
    _settle(replay)
    return {
        "off": replay.off,
        "computed_rows": replay.computed_rows,
        "served_rows": replay.served_rows,
        "gates_skipped": replay.gates_skipped,
        "checked_rows": replay.checked_rows,
        "flips": replay.flips,
        "layers": replay.layers,
        "load": replay.load.tolist(),
    }


def _kinds(module: Any) -> set[str]:
    return {kind.__name__ for kind in type(module).__mro__}


def _refusals(worker: Any) -> Iterator[str]:
    device = str(worker.device)
    runner = worker.model_runner
    layers = moe.layers(worker)
    if not layers:
        yield "this model has no experts"
    if any(layer.is_monolithic for layer in layers):
        yield "this back-end routes inside its kernel; a Triton or other modular MoE back-end does not"
    for router in (layer.router for layer in layers):
        if not moe.is_base_router(router) or _STATEFUL & _kinds(router):
            yield f"experts chosen by a {type(router).__name__} cannot be kept"
        if (router.top_k, router.global_num_experts) != (layers[0].router.top_k, layers[0].router.global_num_experts):
            yield "its layers differ in their number of experts"
    if not device.startswith(("cpu", "cuda")):
        yield f"expert routes on {device} were not looked at"
    if not hasattr(runner, "input_batch") or not hasattr(runner, "_model_forward"):
        yield f"{type(runner).__name__} was not looked at; VLLM_USE_V2_MODEL_RUNNER=0 takes the first one"
    if not moe.is_eager(worker):
        yield "compiled models and CUDA graphs run past it; --enforce-eager does not"
