"""The cache in a live engine core: made once weights and KV stand, and asked before every step."""

from __future__ import annotations

import functools
import logging
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from unfrag.engine.experts import keys, worker
from unfrag.engine.experts.file import UnusableFile, make_file
from unfrag.engine.experts.index import RouteIndex, Scheduled
from unfrag.engine.vllm import features, moe
from unfrag.engine.vllm.remote import remote_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from unfrag.engine.experts.store import Shape


logger = logging.getLogger("vllm.unfrag")

# Of the known rows so many are computed again to compare: none, each eighth, all.
VERIFY_EVERY = {"on": 0, "verify": 8, "observe": 1}
_READ_EVERY_SECONDS = 1.0


class Options(NamedTuple):
    """``mode``: a key of :data:`VERIFY_EVERY`. ``limit_bytes`` of host memory for each rank."""

    mode: str
    limit_bytes: int
    file: Path | None = None


class Refused(Exception):
    """Why this engine runs without the cache."""


class ExpertCache:
    """One per engine core. All but :meth:`prepare` runs in its one thread, between two steps.

    Raises:
        Refused: this engine cannot have one; nothing was changed.
    """

    def __init__(self, engine_core: Any, options: Options, block_tokens: int) -> None:
        self._engine_core, self.options = engine_core, options
        config = engine_core.vllm_config
        if (why := _refusal(config)) is not None:
            raise Refused(why)
        if options.file is not None and (why := features.why_off("expert_cache_file")) is not None:
            self._without_file(why)
            self.options = options = options._replace(file=None)
        self._block_tokens = block_tokens
        looked = self._ask(functools.partial(worker.look, block_tokens=block_tokens, weigh=options.file is not None))
        if why := next((each.refusal for each in looked if each.refusal), None):
            raise Refused(why)
        self.shape: Shape = looked[0].shape
        if any(each.shape != self.shape for each in looked):
            raise Refused("ranks differ in their layers")
        slots = self.shape.slots(options.limit_bytes)
        if slots < 2:
            least = f"{self.shape.block_bytes:,}"
            raise Refused(f"--expert-cache-bytes {options.limit_bytes:,} holds no two blocks of {least} B")
        self.index = RouteIndex(slots, block_tokens, VERIFY_EVERY[options.mode])
        self.off: str | None = None
        self._install(slots, keys.namespace(config, self.shape, [each.weights for each in looked]))
        self._hasher: Callable[[Any], list[bytes]] | None = None
        self._adapters = keys.Adapters()
        self._counts: dict[str, Any] = {}
        self._counts_due_at = float("-inf")
        executor = engine_core.model_executor
        executor.execute_model = functools.partial(self._execute, executor.execute_model)

    def _ask(self, function: Any) -> list[Any]:
        answers = remote_of(self._engine_core).ask(function)
        if fault := next((each.fault for each in answers if each.fault), None):
            raise RuntimeError(fault)
        return [each.value for each in answers]

    def _install(self, slots: int, namespace: bytes) -> None:
        file = self.options.file
        try:
            if file is not None:
                make_file(file, self.shape, slots, namespace)
        except UnusableFile as why:
            self._without_file(str(why))
            file = None
        installed: list[worker.Installed] = self._ask(
            functools.partial(
                worker.install,
                shape=self.shape,
                slots=slots,
                verify_every=VERIFY_EVERY[self.options.mode],
                file=None if file is None else str(file),
                namespace=namespace,
            )
        )
        if fault := next((each.fault for each in installed if each.fault), None):
            raise Refused(fault)
        said = f"unfrag: the expert-route cache is {self.options.mode}: {slots:,} blocks of {self._block_tokens} tokens"
        limit = f"{self.options.limit_bytes:,}"
        logger.info("%s, %d B a token, at most %s B on each rank", said, self.shape.token_bytes, limit)
        if file is None:
            return
        first = installed[0]
        unusable = next((each.file for each in installed if each.file), None)
        if unusable is None and any(each.blocks != first.blocks for each in installed):
            unusable = "ranks read different routes from it"
        if unusable is not None:
            self._ask(worker.drop_file)
            self._without_file(unusable)
            return
        self.index.restore(first.blocks)
        logger.info("unfrag: %d blocks of expert routes came from %s", len(first.blocks), file)
        if first.damaged:
            logger.warning("unfrag: %d damaged blocks in %s are not used", first.damaged, file)

    def _without_file(self, why: str) -> None:
        logger.warning("unfrag: %s is left alone, routes are kept in memory only: %s", self.options.file, why)

    def _execute(self, stock: Any, scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
        if self.off is None:
            try:
                scheduler_output.unfrag_routes = self.index.orders(
                    self._scheduled(scheduler_output), scheduler_output.finished_req_ids
                )
            except Exception as fault:
                self.off = f"{type(fault).__name__}: {fault}"
                logger.exception("unfrag: the expert-route cache is off from now on, the server goes on without it")
        return stock(scheduler_output, *args, **kwargs)

    def _scheduled(self, output: Any) -> Iterator[Scheduled]:
        requests, counts = self._engine_core.scheduler.requests, output.num_scheduled_tokens
        cached = output.scheduled_cached_reqs
        starts = [(new.req_id, new.num_computed_tokens) for new in output.scheduled_new_reqs]
        starts += zip(cached.req_ids, cached.num_computed_tokens, strict=True)
        for request_id, start in starts:
            request = requests[request_id]
            yield Scheduled(
                request_id,
                request.unfrag_answer,
                request.unfrag_hashes,
                request.num_prompt_tokens,
                request.num_preemptions,
                request.num_tokens,
                start,
                counts[request_id],
            )

    def prepare(self, request: Any, answer: str) -> None:
        """Before a request is scheduled, in vLLM's input thread: its name, and its hashes with its adapter's part."""
        if request._block_hasher is None:
            if self._hasher is None:
                self._hasher = moe.hasher(self._engine_core.vllm_config, self._block_tokens)
            request._block_hasher = self._hasher
            request.update_block_hashes()
        lora = request.lora_request
        request.unfrag_answer = answer
        request.unfrag_hashes = keys.Hashes(request, None if lora is None else self._adapters.digest(lora))

    def forget(self, why: str) -> None:
        """Every route, on every rank; the file too, which is of other weights from now on, as far as is known."""
        kept = "" if self.options.file is None else f"; {self.options.file} is not used until the next start"
        if self.index.blocks:
            logger.info("unfrag: %d blocks of expert routes are forgotten: %s%s", self.index.blocks, why, kept)
        self.index.clear()
        self._ask(worker.forget)

    def share(self, answer: str) -> tuple[int, int] | None:
        """See ``RouteIndex.share``; None also when a rank gave up."""
        self.counts()
        return None if self.off is not None else self.index.share(answer)

    def counts(self) -> dict[str, Any]:
        """For ``/plugins/unfrag/experts``: the index's counts, and rank 0's, read at most once a second."""
        now = time.monotonic()
        if now >= self._counts_due_at:
            each = self._ask(worker.counts)
            self._counts = each[0]
            self.off = self.off or next((counts["off"] for counts in each if counts["off"]), None)
            self._counts_due_at = now + _READ_EVERY_SECONDS
        index = self.index
        return {
            **self._counts,
            "mode": self.options.mode,
            "off": self.off,
            "hits": index.counts.hits,
            "misses": index.counts.misses,
            "evictions": index.counts.evictions,
            "blocks": index.blocks,
            "slots": index.slots,
            "block_tokens": self._block_tokens,
            "token_bytes": self.shape.token_bytes,
            "bytes": index.held * self.shape.block_bytes,
            "limit_bytes": self.options.limit_bytes,
        }


def _refusal(config: Any) -> str | None:
    parallel = config.parallel_config
    if config.speculative_config is not None:
        return "tokens that were only drafted have routes too, and with speculative decoding they cannot be told apart"
    if parallel.data_parallel_size > 1:
        return "with data parallelism tokens of several engines are routed together"
    if parallel.pipeline_parallel_size > 1:
        return "pipeline parallelism was not looked at"
    if parallel.prefill_context_parallel_size > 1 or parallel.enable_dbo:
        return "a batch that is divided over ranks or halves was not looked at"
    if getattr(parallel, "use_sequence_parallel_moe", False):
        return "with sequence parallelism each rank routes a part of the tokens"
    return None
