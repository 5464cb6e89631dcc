"""Tells a webhook what was done. What it does not take now is kept on disk and tried again; the oldest give way."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from unfrag.errors import UsageError
from unfrag.server.client import parts_of
from unfrag.system.files import private_folder, read_file, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

_TRY_AGAIN = (401, 403, 404, 408, 425, 429)  # it may be mended, or is busy
KEPT, _SECONDS, _MOST_SECONDS = 100, 10.0, 300.0


def must_be_an_address(url: str) -> None:
    """Raises UsageError, which does not repeat what was given: who knows a webhook's address can write there."""
    if parts_of(url) is None:
        raise UsageError("--webhook is no address; write https://HOST/PATH")


def why_not_taken(url: str, message: dict[str, str]) -> str | None:
    """Send it once, as in "the webhook ...": why it was not taken, without the address; None: it was."""
    try:
        answer = httpx.post(url, json=message, timeout=_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as fault:
        is_plain = isinstance(fault, httpx.ConnectError | httpx.TimeoutException) and str(fault)
        return f"cannot be reached: {fault if is_plain else type(fault).__name__}"
    return None if answer.is_success else f"answers {answer.status_code}: it would not have told anybody"


class Webhook:
    """One thread; ``tell`` returns at once."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder = url, folder
        self._new = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        self._thread.start()

    def tell(self, message: dict[str, Any]) -> None:
        """Keep it on disk until it is taken; when that cannot be written, it is lost."""
        with contextlib.suppress(OSError, UsageError):
            private_folder(self._folder)
            for old in self._waiting()[: -KEPT + 1]:
                old.unlink(missing_ok=True)
            file = self._folder / f"{time.time_ns():020d}.json"
            write_atomically(file, msgspec.json.encode(message), private=True)
        self._new.set()

    def stop(self) -> None:
        self._stopped = True
        self._new.set()

    def _waiting(self) -> list[Path]:
        return sorted(self._folder.glob("*.json"))

    def _run(self) -> None:
        wait = 1.0
        with httpx.Client(timeout=_SECONDS) as client:
            while not self._stopped:
                waiting = self._waiting()
                if waiting and self._send(client, waiting[0]):
                    waiting[0].unlink(missing_ok=True)
                    wait = 1.0
                    continue
                self._new.wait(wait if waiting else None)
                self._new.clear()
                wait = min(_MOST_SECONDS, 2 * wait)

    def _send(self, client: httpx.Client, file: Path) -> bool:
        with contextlib.suppress(httpx.HTTPError, httpx.InvalidURL, UsageError):
            headers = {"Content-Type": "application/json"}
            answer = client.post(self._url, content=read_file(file), headers=headers)
            # What it refuses for good must not hold up what comes after.
            return answer.is_success or (answer.is_client_error and answer.status_code not in _TRY_AGAIN)
        return False
