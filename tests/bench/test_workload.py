import pytest
from hypothesis import given
from hypothesis import strategies as st

from unfrag.bench.workload import generate, load_jsonl
from unfrag.errors import UsageError


def characters(text):
    """Stands for a tokenizer: the generator only needs a count that grows with the text."""
    return len(text)


def test_lengths_seed_and_sharing():
    work = generate(characters, prompts=100, mean_tokens=3200, questions_per_document=5)
    lengths = [len(prompt.prompt) for prompt in work.prompts]
    assert sum(lengths) / len(lengths) == pytest.approx(3200, rel=0.05)
    assert min(lengths) < 2600
    assert max(lengths) > 3700
    assert len({prompt.prompt[:500] for prompt in work.prompts}) == 20
    assert len(work.warmup) == 20
    assert work == generate(characters, prompts=100, mean_tokens=3200, questions_per_document=5)
    assert work != generate(characters, prompts=100, mean_tokens=3200, questions_per_document=5, seed=1)


@given(st.integers(1, 40), st.integers(20, 500), st.integers(1, 9))
def test_any_size_gives_that_many_prompts(prompts, mean, questions):
    assert len(generate(characters, prompts, mean, questions).prompts) == prompts


def test_a_users_own_prompts(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text('{"prompt": "你好"}\n\n{"prompt": "b", "output_tokens_count": 7}\n', encoding="utf-8")
    work = load_jsonl(path, 64)
    assert [(prompt.prompt, prompt.output_tokens_count) for prompt in work.prompts] == [("你好", 64), ("b", 7)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"not json", "line 2: not JSON"),
        (b"\xff\xfe", "line 2: not JSON"),
        (b"[1]", 'no text under "prompt"'),
        (b'{"text": "x"}', 'no text under "prompt"'),
        (b'{"prompt": "x", "output_tokens_count": 0}', "whole number from 1"),
    ],
)
def test_a_wrong_line_is_named_by_its_number(tmp_path, line, said):
    path = tmp_path / "own.jsonl"
    path.write_bytes(b'{"prompt": "a"}\n' + line + b"\n")
    with pytest.raises(UsageError, match="line 2") as caught:
        load_jsonl(path, 64)
    assert said in str(caught.value)


def test_an_empty_or_missing_file_is_said(tmp_path):
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(UsageError, match="no prompts"):
        load_jsonl(tmp_path / "empty.jsonl", 64)
    with pytest.raises(UsageError, match="No such file"):
        load_jsonl(tmp_path / "none.jsonl", 64)
