"""Several engines as one: the parts add up, and the worst is not hidden."""

from unfrag.engine.watch import combine


def engine(free, largest, pinned, steps, age):
    return {
        "gpu_cache_usage": pinned / (free + pinned),
        "free_blocks": free,
        "largest_free_block": largest,
        "block_size_bytes": 1024,
        "block_size_tokens": 32,
        "total_blocks": free + pinned,
        "pinned_blocks": pinned,
        "cached_blocks": 1,
        "fragmentation_ratio": 1 - largest / free,
        "free_runs": 2,
        "tail_waste_tokens": 3,
        "steps": steps,
        "kv_connector": None,
        "age_seconds": age,
        "ranks": [{"rank": 0}],
        "pool": "stock",
    }


def test_counts_add_up_and_alarms_are_the_worst_engines():
    both = combine([engine(100, 100, 100, 7, 0.1), engine(200, 10, 0, 5, 9.0)])
    assert both["total_blocks"] == both["free_blocks"] + both["pinned_blocks"] == 400
    assert both["gpu_cache_usage"] == 0.25
    assert (both["largest_free_block"], both["fragmentation_ratio"]) == (10, 0.95)
    assert (both["steps"], both["age_seconds"]) == (5, 9.0)
    assert [entry["engine"] for entry in both["engines"]] == [0, 1]
    assert len(both["ranks"]) == 2
