"""Routes of one rank, at its routers: known rows are served, the others computed and kept.

Model Runner V1 (``v1/worker/gpu_model_runner.py``, the CPU's too), eager mode: a row is a token of the step's batch, in
the order of ``input_batch.req_ids``. CUDA was read, not run: there each step copies its known rows to the card and its
new ones back, and waits for that.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from unfrag.engine.experts.index import NOWHERE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from unfrag.engine.experts.index import Orders
    from unfrag.engine.experts.store import Store

logger = logging.getLogger("vllm.unfrag")

# What is kept waiting, at most: a step of decode has few rows, and each writing costs as much as a hundred of them.
_PENDING_STEPS, _PENDING_ROWS = 16, 512


class Step:
    """One forward pass: which rows are known, and what they are.

    ``ids`` and ``weights``: ``(layers, known rows, top_k)``. ``computed``: what each layer computed for the rows that
    are not known, in their order.
    """

    def __init__(
        self, store_rows: NDArray[Any], has_place: NDArray[Any], stored: NDArray[Any], served: NDArray[Any]
    ) -> None:
        self.rows = len(store_rows)
        self.has_place, self.checked = has_place, stored & ~served
        self.known = np.flatnonzero(served)
        self.new = np.flatnonzero(~served)
        self.store_rows = store_rows
        self.ids: Any = None
        self.weights: Any = None
        self.computed: dict[int, tuple[Any, Any]] = {}
        self._places: dict[int, tuple[Any, Any]] = {}

    def load(self, store: Store, device: Any) -> None:
        if not len(self.known):
            return
        layers, top_k = store.shape.layers, store.shape.top_k
        at = self.store_rows[self.known]
        # Kernels read each layer's rows as they lie in memory.
        ids = store.ids[at].reshape(len(at), layers, top_k).transpose(1, 0, 2).astype(np.int32, order="C")
        weights = np.ascontiguousarray(store.weights[at].reshape(len(at), layers, top_k).transpose(1, 0, 2))
        self.ids = torch.from_numpy(ids).to(device)
        self.weights = torch.from_numpy(weights).to(device)

    def places(self, rows: int, device: Any) -> tuple[Any, Any]:
        """Known and other rows of a batch of ``rows``, which may be padded beyond this step's."""
        if rows not in self._places:
            new = np.concatenate([self.new, np.arange(self.rows, rows)])
            self._places[rows] = torch.from_numpy(self.known).to(device), torch.from_numpy(new).to(device)
        return self._places[rows]


class Replay:
    """Wraps one rank's model runner and its routers, on these objects alone.

    ``verify_every``: known rows whose position has the step's phase modulo this are computed all the same, compared,
    and stored anew.
    """

    def __init__(self, runner: Any, layers: list[Any], gates: list[Any], store: Store, verify_every: int) -> None:
        self.store = store
        self._runner = runner
        self._verify_every = verify_every
        self._ranks = runner.parallel_config.world_size
        self._orders: Orders | None = None
        self._step: Step | None = None
        self._pending: list[tuple[Step | None, list[tuple[int, bytes]]]] = []
        self._pending_rows = 0
        self.off: str | None = None
        """Why this rank neither serves nor keeps routes (any more)."""
        self.computed_rows = self.served_rows = self.gates_skipped = self.checked_rows = self.flips = 0
        self.layers = [layer.layer_id for layer in layers]
        """The model's numbers of its MoE layers."""
        experts = layers[0].router.global_num_experts
        self.load: NDArray[Any] = np.zeros((store.shape.layers, experts), np.int64)
        """How often each expert was chosen: ``(layers, experts)``."""
        runner.execute_model = functools.partial(self._execute, runner.execute_model)
        runner._model_forward = functools.partial(self._forward, runner._model_forward)
        for number, router in enumerate(layer.router for layer in layers):
            router._compute_routing = functools.partial(self._route, number, router._compute_routing)
        for gate in gates:
            gate.forward = functools.partial(self._gate, gate.forward)

    def _execute(self, stock: Any, scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
        self._orders = getattr(scheduler_output, "unfrag_routes", None)
        output = stock(scheduler_output, *args, **kwargs)
        if self._orders is not None:  # a step without tokens has no forward pass
            self._pending.append((None, self._orders.published))
            self._orders = None
        return output

    def _forward(self, stock: Any, *args: Any, **kwargs: Any) -> Any:
        orders, self._orders = self._orders, None
        if orders is None:
            return stock(*args, **kwargs)
        if self.off is not None:
            if self._ranks > 1:
                raise RuntimeError(f"unfrag: ranks must not differ in their expert routes: {self.off}")
            return stock(*args, **kwargs)
        try:
            step = self._begin(orders)
        except Exception as fault:
            self._fail(fault)
            return stock(*args, **kwargs)
        self._step = step
        try:
            output = stock(*args, **kwargs)
        finally:
            self._step = None
        try:
            self._keep(step, orders)
        except Exception as fault:
            self._fail(fault)
        return output

    def _fail(self, fault: Exception) -> None:
        """A rank by itself goes on as stock. Of several, one alone would choose other experts than the rest.

        Raises:
            RuntimeError: there are several ranks.
        """
        self.off = f"{type(fault).__name__}: {fault}"
        logger.error("unfrag: the expert-route cache is off from now on, the server goes on without it: %s", self.off)
        if self._ranks > 1:
            raise RuntimeError(f"unfrag: ranks must not differ in their expert routes: {self.off}") from fault

    def _begin(self, orders: Orders) -> Step:
        """Rows of this batch to places in the store."""
        batch = self._runner.input_batch
        starts = self._runner.query_start_loc.np
        size = self.store.shape.block_tokens
        counts, positions_from, slot_from = [], [], []
        slots: list[int] = []
        known: list[int] = []
        for i, request_id in enumerate(batch.req_ids):
            order = orders.requests[request_id]
            counts.append(int(starts[i + 1] - starts[i]))
            positions_from.append(order.start)
            slot_from.append(len(slots) - order.start // size)
            slots += order.slots
            known += order.known
        count = np.asarray(counts)
        rows = int(count.sum())
        within = np.arange(rows) - np.repeat(np.cumsum(count) - count, count)
        position = np.repeat(np.asarray(positions_from), count) + within
        block = position // size + np.repeat(np.asarray(slot_from), count)
        slot, row = np.asarray(slots)[block], position % size
        has_place = slot != NOWHERE
        stored = has_place & (row < np.asarray(known)[block])
        served = stored
        if self._verify_every:
            served = stored & (position % self._verify_every != orders.phase)
        if stored.any():
            self.settle()
        step = Step(slot * size + row, has_place, stored, served)
        step.load(self.store, self._runner.device)
        return step

    def _route(self, layer: int, stock: Any, hidden_states: Any, router_logits: Any, *args: Any, **kwargs: Any) -> Any:
        step = self._step
        if step is None:
            return stock(hidden_states, router_logits, *args, **kwargs)
        rows = hidden_states.shape[0]
        if step.ids is None:
            weights, ids = stock(hidden_states, router_logits, *args, **kwargs)
            step.computed[layer] = weights, ids
            return weights, ids
        known, new = step.places(rows, hidden_states.device)
        if not len(new):
            return step.weights[layer], step.ids[layer]
        if (input_ids := kwargs.get("input_ids")) is not None:
            kwargs["input_ids"] = input_ids[new]
        new_weights, new_ids = stock(hidden_states[new], router_logits[new], *args, **kwargs)
        step.computed[layer] = new_weights, new_ids
        weights = new_weights.new_empty((rows, new_weights.shape[1]))
        ids = new_ids.new_empty((rows, new_ids.shape[1]))
        weights[known], weights[new] = step.weights[layer].to(weights.dtype), new_weights
        ids[known], ids[new] = step.ids[layer].to(ids.dtype), new_ids
        return weights, ids

    def _gate(self, stock: Any, hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
        """A gate whose every row is known has nobody to answer."""
        step = self._step
        if step is not None and step.ids is not None and len(step.known) == hidden_states.shape[0]:
            self.gates_skipped += 1
            return None, None
        return stock(hidden_states, *args, **kwargs)

    def _keep(self, step: Step, orders: Orders) -> None:
        """New rows go into the store later, those of many small steps at once: only who reads must find them there."""
        self.served_rows += len(step.known)
        self.computed_rows += len(step.new)
        if step.ids is not None:
            self._count(step.ids.cpu().numpy())
        self._pending.append((step, orders.published))
        self._pending_rows += len(step.new)
        if len(self._pending) >= _PENDING_STEPS or self._pending_rows >= _PENDING_ROWS:
            self.settle()

    def settle(self) -> None:
        """Pending rows into the store, step by step as they came."""
        pending, self._pending, self._pending_rows = self._pending, [], 0
        steps = [step for step, _ in pending if step is not None and len(step.new)]
        if steps:
            # Padding comes after the rows of a step, so its first ones are those.
            ids, weights = (
                torch.stack(
                    [
                        torch.cat([step.computed[layer][kind][: len(step.new)] for step in steps])
                        for layer in range(self.store.shape.layers)
                    ]
                )
                for kind in (1, 0)
            )
            all_ids = ids.cpu().numpy()
            self._count(all_ids)
            rows, row_weights = all_ids.transpose(1, 0, 2), weights.float().cpu().numpy().transpose(1, 0, 2)
        done = 0
        for step, published in pending:
            if step is not None and (new := len(step.new)):
                self._store(step, rows[done : done + new], row_weights[done : done + new])
                done += new
            for slot, key in published:
                self.store.publish(slot, key)

    def _store(self, step: Step, ids: NDArray[Any], weights: NDArray[Any]) -> None:
        """``ids`` and ``weights``: ``(new rows, layers, top_k)``."""
        flipped = self._flipped(step, ids)
        keep = step.has_place[step.new] & ~step.checked[step.new]
        self._write(step.store_rows[step.new[keep]], ids[keep], weights[keep])
        if flipped.any() and self._verify_every > 1:  # who only observes corrects nothing
            at = step.store_rows[step.new[flipped]]
            slots = {int(slot): self.store.key_of(int(slot)) for slot in at // self.store.shape.block_tokens}
            self._write(at, ids[flipped], weights[flipped])
            for slot, key in slots.items():
                if key is not None:
                    self.store.publish(slot, key)

    def _write(self, at: NDArray[Any], ids: NDArray[Any], weights: NDArray[Any]) -> None:
        columns = self.store.ids.shape[1]
        self.store.renew(at // self.store.shape.block_tokens)
        self.store.ids[at] = ids.reshape(len(at), columns)
        self.store.weights[at] = weights.reshape(len(at), columns)

    def _flipped(self, step: Step, ids: NDArray[Any]) -> NDArray[Any]:
        """Which new rows, computed for comparison, disagree with the store in some layer; counts those decisions.

        ``ids``: ``(new rows, layers, top_k)``. A flip is a token and layer with another set of experts.
        """
        checked = step.checked[step.new]
        found: NDArray[Any] = np.zeros(len(step.new), bool)
        if checked.any():
            at = step.store_rows[step.new[checked]]
            was = self.store.ids[at].reshape(len(at), *ids.shape[1:]).astype(ids.dtype)
            flipped = (np.sort(was, axis=2) != np.sort(ids[checked], axis=2)).any(axis=2)
            self.checked_rows += len(at)
            self.flips += int(flipped.sum())
            found[checked] = flipped.any(axis=1)
        return found

    def _count(self, ids: NDArray[Any]) -> None:
        """``ids``: ``(layers, rows, top_k)``."""
        layers, experts = self.load.shape
        offset = np.arange(layers, dtype=np.int64)[:, None, None] * experts
        self.load += np.bincount((ids + offset).ravel(), minlength=layers * experts).reshape(layers, experts)
