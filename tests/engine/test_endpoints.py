"""The routes over a watch without an engine: what is refused changes nothing, and says why in one line."""

import math

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from unfrag.engine.endpoints import router


class Watch:
    def __init__(self):
        self.closed = []

    async def close_for(self, seconds):
        self.closed.append(seconds)

    async def standstill(self, seconds):
        return None


@pytest.fixture
def watch():
    return Watch()


@pytest.fixture
def client(watch):
    app = FastAPI()
    app.include_router(router)
    app.state.unfrag_watch = watch
    return TestClient(app, base_url="http://127.0.0.1:8000", client=("127.0.0.1", 1))


@pytest.mark.parametrize("seconds", ["inf", "-inf", "nan", "1e400", "1e308", "-1", "86401", "", "x", "1;2", "0x10"])
def test_a_drain_without_end_changes_nothing(client, watch, seconds):
    answer = client.post("/plugins/unfrag/drain", params={"seconds": seconds})
    assert answer.status_code == 400
    assert "86400" in answer.json()["error"]
    assert watch.closed == []


@pytest.mark.parametrize("seconds", ["0", "60", "1.5", "86400"])
def test_a_drain_that_makes_sense(client, watch, seconds):
    answer = client.post("/plugins/unfrag/drain", params={"seconds": seconds})
    assert (answer.status_code, answer.json()) == (200, {"seconds": float(seconds)})
    assert watch.closed == [float(seconds)]


def test_who_may_not_drain_learns_nothing_more(client, watch):
    answer = client.post("/plugins/unfrag/drain?seconds=x", headers={"X-Forwarded-For": "127.0.0.1"})
    assert answer.status_code == 403
    assert watch.closed == []


@pytest.mark.parametrize("seconds", [math.inf, math.nan, -1])
def test_a_probe_without_a_limit_is_refused(client, seconds):
    assert client.get("/plugins/unfrag/live", params={"seconds": seconds}).status_code == 400
    assert client.get("/plugins/unfrag/live").status_code == 200
