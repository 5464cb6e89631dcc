"""Routes in a file: what was changed, torn, or written by another model is never served."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unfrag.engine.experts.file import RouteFile, UnusableFile, make_file
from unfrag.engine.experts.store import Shape, Store

SHAPE, SLOTS, MODEL = Shape(layers=3, top_k=4, id_bytes=1, block_tokens=16), 10, b"m" * 32


def fill(store, slots, seed=0):
    rng = np.random.default_rng(seed)
    for slot in slots:
        rows = slice(slot * 16, slot * 16 + 16)
        store.ids[rows] = rng.integers(0, 64, (16, 12))
        store.weights[rows] = rng.random((16, 12))
        store.publish(slot, key(slot))


def from_file(path, shape, slots, model, write):
    """As a rank does it: (store, its whole blocks, how many are damaged)."""
    file, store = RouteFile(path, shape, slots, model, write), Store(shape, slots)
    whole, damaged = store.load(file)
    if write:
        store.keep_in(file, whole)
    else:
        file.close()
    return store, whole, damaged


def key(slot):
    return bytes([slot]) * 31 + b"\0"  # a hash may end in zeros


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "routes"
    make_file(path, SHAPE, SLOTS, MODEL)
    store, blocks, damaged = from_file(path, SHAPE, SLOTS, MODEL, write=True)
    assert (blocks, damaged) == ([], 0)
    fill(store, (1, 2, 5))
    store.close()
    return path


def test_a_restart_finds_every_block_as_it_was(file):
    wanted = Store(SHAPE, SLOTS)
    fill(wanted, (1, 2, 5))
    for write in (True, False):
        store, blocks, damaged = from_file(file, SHAPE, SLOTS, MODEL, write)
        assert (blocks, damaged) == ([(slot, key(slot)) for slot in (1, 2, 5)], 0)
        assert np.array_equal(store.ids, wanted.ids)
        assert np.array_equal(store.weights, wanted.weights)
        store.close()


@settings(max_examples=60)
@given(data=st.data())
def test_flipped_bits_are_never_served(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flip") / "routes"
    make_file(path, SHAPE, SLOTS, MODEL)
    store, _, _ = from_file(path, SHAPE, SLOTS, MODEL, write=True)
    fill(store, (1, 2, 5))
    truth = {slot: store.ids[slot * 16 : slot * 16 + 16].tobytes() for slot in (1, 2, 5)}
    store.close()
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        store, blocks, _ = from_file(path, SHAPE, SLOTS, MODEL, write=False)
    except UnusableFile:
        return
    for slot, found in blocks:
        assert found == key(slot)
        assert store.ids[slot * 16 : slot * 16 + 16].tobytes() == truth[slot]


def test_a_block_in_the_making_is_not_there_after_a_crash(file):
    store, _, _ = from_file(file, SHAPE, SLOTS, MODEL, write=True)
    store.renew(np.array([2]))
    store.ids[2 * 16] = 9
    store.close()
    assert [slot for slot, _ in from_file(file, SHAPE, SLOTS, MODEL, write=False)[1]] == [1, 5]


def test_after_new_weights_nothing_in_the_file_counts(file):
    store, _, _ = from_file(file, SHAPE, SLOTS, MODEL, write=True)
    store.forget()
    assert from_file(file, SHAPE, SLOTS, MODEL, write=False)[1] == []


@pytest.mark.parametrize(
    ("shape", "slots", "model", "why"),
    [
        (SHAPE, SLOTS, b"x" * 32, "another model"),
        (SHAPE, SLOTS + 1, MODEL, "another size"),
        (SHAPE._replace(layers=4), SLOTS, MODEL, "another model"),
    ],
)
def test_another_models_file_is_left_alone(file, shape, slots, model, why):
    before = file.read_bytes()
    make_file(file, shape, slots, model)
    with pytest.raises(UnusableFile, match=why):
        from_file(file, shape, slots, model, write=True)
    assert file.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"\0" * 9000, b"unfrag expert routes 2\n{", b"unfrag expert routes 2\n[1]"])
def test_what_is_no_file_of_routes_is_left_alone(tmp_path, content):
    path = tmp_path / "routes"
    path.write_bytes(content)
    with pytest.raises(UnusableFile):
        from_file(path, SHAPE, SLOTS, MODEL, write=True)
    assert path.read_bytes() == content


def test_a_file_that_was_cut_short(file):
    os.truncate(file, file.stat().st_size - 1)
    with pytest.raises(UnusableFile, match="cut short"):
        from_file(file, SHAPE, SLOTS, MODEL, write=True)


def test_a_file_that_is_cut_short_meanwhile_ends_nobody(file):
    store, _, _ = from_file(file, SHAPE, SLOTS, MODEL, write=True)
    os.truncate(file, 0)
    fill(store, (7,))
    store.renew(np.array([1]))
    store.close()
    with pytest.raises(UnusableFile):
        from_file(file, SHAPE, SLOTS, MODEL, write=True)


def test_two_servers_do_not_share_a_file(file):
    first, _, _ = from_file(file, SHAPE, SLOTS, MODEL, write=True)
    with pytest.raises(UnusableFile, match="another server"):
        from_file(file, SHAPE, SLOTS, MODEL, write=True)
    first.close()
    from_file(file, SHAPE, SLOTS, MODEL, write=True)[0].close()


@pytest.mark.parametrize("slots", [1 << 40, 1 << 48])
def test_a_file_that_cannot_be_made_leaves_nothing_behind(tmp_path, slots):
    with pytest.raises(UnusableFile, match=r"No space|File too large"):
        make_file(tmp_path / "deep" / "routes", SHAPE, slots, MODEL)
    assert list((tmp_path / "deep").iterdir()) == []


_HUNDRED_THOUSAND = """
import sys, gc, psutil, hashlib
import numpy as np
from unfrag.engine.experts.index import RouteIndex, Scheduled
from unfrag.engine.experts.store import Shape, Store
limit = 48 << 20
shape = Shape(layers=6, top_k=4, id_bytes=1, block_tokens=16)
gc.collect()
before = psutil.Process().memory_info().rss
slots = shape.slots(limit)
index, store = RouteIndex(slots, 16), Store(shape, slots)
most = 0
class Hashes(list):
    pass
for n in range(0, 100_000, 8):
    name = str(n)
    hashes = [hashlib.sha256(b"%d" % (n + i)).digest() for i in range(8)]
    finished = [str(n - 8)]
    orders = index.orders([Scheduled(name, name, hashes, 128, 0, 128, 0, 128)], finished)
    for slot in orders.requests[name].slots:
        rows = slice(slot * 16, slot * 16 + 16)
        store.ids[rows] = n % 64
        store.weights[rows] = n
    for slot, key in orders.published:
        store.publish(slot, key)
    if n % 4000 == 0:
        most = max(most, psutil.Process().memory_info().rss)
most = max(most, psutil.Process().memory_info().rss)
print(most - before, limit, slots, index.blocks, index.counts.evictions)
"""


def test_a_hundred_thousand_blocks_stay_under_the_limit():
    """In a process of its own, so that what it holds more is the cache's."""
    done = subprocess.run([sys.executable, "-c", _HUNDRED_THOUSAND], capture_output=True, text=True, check=True)
    grown, limit, slots, blocks, evictions = map(int, done.stdout.split())
    assert evictions == 100_000 - slots > 0
    assert blocks == slots
    assert limit * 0.5 < grown <= limit, done.stdout
