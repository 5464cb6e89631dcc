import pytest

from unfrag.flags.line import change_flags, change_words
from unfrag.flags.repair import repair, repair_line, repair_words


def test_the_articles_dtype_is_put_right_and_said():
    flags, notes = repair({"--kv-cache-dtype": "fp16", "--port": "8000"})
    assert flags == {"--kv-cache-dtype": "float16", "--port": "8000"}
    assert notes == ["--kv-cache-dtype fp16 is spelled float16 in vLLM"]


def test_words_are_repaired_in_both_forms():
    assert repair_words(["m", "--kv-cache-dtype", "fp16", "--kv_cache_dtype=fp16", "--dtype", "half"]) == [
        *("m", "--kv-cache-dtype", "float16"),
        *("--kv_cache_dtype=float16", "--dtype", "half"),
    ]


ARTICLE = (
    "/root/miniconda3/bin/python -m vllm.entrypoints.api_server --model /m --block-size 32 --kv-cache-dtype fp16 "
    "--enable-chunked-prefill --port 8000"
)


def repaired(command, wanted):
    flags, words, notes = repair_line(command, wanted)
    return change_flags(change_words(command, words), flags), notes


def test_the_articles_whole_line_is_put_right():
    line, notes = repaired(ARTICLE, {"--max-num-seqs": "256"})
    assert line == (
        "/root/miniconda3/bin/python -m vllm.entrypoints.openai.api_server --model /m --block-size 32 "
        "--kv-cache-dtype float16 --enable-chunked-prefill --port 8000 --max-num-seqs 256"
    )
    assert [note.split(" ")[0] for note in notes] == ["--kv-cache-dtype", "vllm.entrypoints.api_server"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (ARTICLE, "/root/miniconda3/bin/python -m unfrag serve --model /m "),
        ("/opt/bin/vllm serve /m --port 1", "/opt/bin/unfrag serve /m "),
        ("vllm serve vllm --port 1", "unfrag serve vllm "),
        ("unfrag serve /m", "unfrag serve /m "),
    ],
)
def test_a_flag_of_the_plugin_wants_a_line_that_starts_it(before, after):
    line, _ = repaired(before, {"--enable-expert-cache": None})
    assert line.startswith(after)
    assert line.endswith("--enable-expert-cache")
    assert repaired(line, {"--enable-expert-cache": None}) == (line, [])


def test_a_good_line_is_left_alone():
    assert repair_line("vllm serve /m --port 1", {"--port": "2"}) == ({"--port": "2"}, {}, [])
