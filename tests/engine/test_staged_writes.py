"""Model Runner V2 writes block tables by way of a few buffers that the device reads later; a move is one more write.

The device is played here: what was copied into a buffer counts as unread until the step that wrote it is done, or the
device was waited for. Nothing may be copied into a buffer that is unread.
"""

from __future__ import annotations

import os

import pytest

from tests.engine.in_process import an_engine, compact, engine_core
from tests.engine.test_compaction import BLOCKS, IN_FLIGHT, Run
from unfrag.engine.vllm import tables

pytestmark = pytest.mark.skipif(
    not {"UNFRAG_RIG_V2", "UNFRAG_RIG_ASYNC"} <= set(os.environ), reason="wants Model Runner V2: make test-matrix"
)


class Device:
    """Which buffers of which pools it has still to read, and what was copied into such a one."""

    def __init__(self):
        self.unread = {}
        self.writer = "start"
        self.moves, self.overwritten = 0, []

    def copied(self, pool):
        buffer = id(pool), pool._curr
        if buffer in self.unread:
            self.overwritten.append((self.unread[buffer], self.writer))
        self.unread[buffer] = self.writer

    def done(self, writer):
        self.unread = {buffer: wrote for buffer, wrote in self.unread.items() if wrote != writer}

    def waited_for(self):
        self.unread.clear()


@pytest.fixture
def device(monkeypatch):
    from vllm.v1.core.sched.async_scheduler import AsyncScheduler
    from vllm.v1.worker.gpu.buffer_utils import StagedWriteTensor, UvaBufferPool

    played = Device()
    copy, apply_write, move = UvaBufferPool.copy_to_uva, StagedWriteTensor.apply_write, tables.move
    schedule, update = AsyncScheduler.schedule, AsyncScheduler.update_from_output
    staged = set()

    def copy_to_uva(pool, x):
        result = copy(pool, x)
        if id(pool) in staged:
            played.copied(pool)
        return result

    def apply_and_note(tensor):
        staged.update(id(pool) for pool in (tensor.write_indices, tensor.write_starts, tensor.write_cu_lens))
        apply_write(tensor)

    def begin(scheduler, *args):
        output = schedule(scheduler, *args)
        played.writer = id(output)
        return output

    def end(scheduler, output, *args):
        played.done(id(output))
        return update(scheduler, output, *args)

    def move_and_note(worker, copies, tables):
        played.writer, played.moves = "move", played.moves + 1
        return move(worker, copies, tables)

    monkeypatch.setattr(UvaBufferPool, "copy_to_uva", copy_to_uva)
    monkeypatch.setattr(StagedWriteTensor, "apply_write", apply_and_note)
    monkeypatch.setattr(AsyncScheduler, "schedule", begin)
    monkeypatch.setattr(AsyncScheduler, "update_from_output", end)
    monkeypatch.setattr(tables, "move", move_and_note)
    return played


@pytest.mark.parametrize("waits", [True, False])
def test_a_move_shares_no_buffer_with_a_write_that_is_not_read_yet(device, monkeypatch, waits):
    monkeypatch.setattr(tables, "_wait_for_the_device", lambda worker: device.waited_for() if waits else None)
    with an_engine(BLOCKS, IN_FLIGHT) as llm:
        assert len(engine_core(llm).batch_queue or ()) == 0
        Run(llm, each_step=lambda step: compact(llm))
    assert device.moves > 5
    shared = [pair for pair in device.overwritten if "move" in pair]
    assert bool(shared) != waits, "without waiting the test sees it"
