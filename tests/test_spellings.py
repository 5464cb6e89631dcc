from unfrag.spellings import repair, repair_words


def test_the_articles_dtype_is_put_right_and_said():
    flags, notes = repair({"--kv-cache-dtype": "fp16", "--port": "8000"})
    assert flags == {"--kv-cache-dtype": "float16", "--port": "8000"}
    assert notes == ["--kv-cache-dtype fp16 is spelled float16 in vLLM"]


def test_words_are_repaired_in_both_forms():
    assert repair_words(["m", "--kv-cache-dtype", "fp16", "--kv_cache_dtype=fp16", "--dtype", "half"]) == [
        *("m", "--kv-cache-dtype", "float16"),
        *("--kv_cache_dtype=float16", "--dtype", "half"),
    ]
