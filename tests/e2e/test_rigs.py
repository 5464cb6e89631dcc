"""Two rigs side by side, one of them on two ranks."""

import httpx
import pytest

from tests.conftest import SMALL_POOL
from unfrag.rig.server import Rig


@pytest.mark.slow
def test_two_ranks_answer_beside_another_rig(rig):
    with Rig(SMALL_POOL, ranks=2) as two:
        two.wait_ready(300)
        assert two.port != rig.port
        stats = httpx.get(f"{two.url}/health").json()["memory_stats"]
        assert [entry["rank"] for entry in stats["ranks"]] == [0, 1]
        assert all(entry["device"] == "cpu" for entry in stats["ranks"])
        one = httpx.get(f"{rig.url}/health").json()["memory_stats"]
        assert stats["ranks"][0]["weights_bytes"] < one["ranks"][0]["weights_bytes"], "each rank holds a part"
        assert stats["block_size_bytes"] * 2 == one["block_size_bytes"]
        flushed = httpx.post(f"{two.url}/flush_cache", timeout=30).json()
        assert len(flushed["after"]["ranks"]) == 2
    assert httpx.get(f"{rig.url}/health").status_code == 200
