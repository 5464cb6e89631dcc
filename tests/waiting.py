"""Wait for a state of the world, without guessing how long it takes."""

from __future__ import annotations

import time


def until(condition, seconds=120.0):
    """Poll until the condition holds; its value. Fails the test when it never does."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.02)
    return value
