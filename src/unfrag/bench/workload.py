"""What is asked of the server: long Chinese documents with several questions each, or a user's own JSONL."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import msgspec

from unfrag.bench.corpus import question, sentence
from unfrag.errors import UsageError
from unfrag.system.decode import line_of_json
from unfrag.system.files import read_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


_LARGEST = 64 << 20
_MOST_OUTPUT = 1_000_000


class Prompt(msgspec.Struct, frozen=True):
    """One request: its text, and how many tokens to generate (exactly that many: end tokens are ignored)."""

    prompt: str
    output_tokens_count: int


class Workload(msgspec.Struct, frozen=True):
    """Prompts in the order they are sent. ``description`` goes into the result.

    ``warmup`` is sent before anything is measured: a server in service has seen its documents before.
    """

    prompts: tuple[Prompt, ...]
    warmup: tuple[Prompt, ...]
    description: str


def write_jsonl(prompts: tuple[Prompt, ...], path: Path) -> None:
    """One prompt a line."""
    path.write_bytes(b"".join(msgspec.json.encode(prompt) + b"\n" for prompt in prompts))


def generate(
    count_tokens: Callable[[str], int],
    prompts: int = 100,
    mean_tokens: int = 3200,
    questions_per_document: int = 5,
    output_tokens: int = 64,
    seed: int = 0,
) -> Workload:
    """Question-answer prompts; documents of 0.75 to 1.25 times ``mean_tokens``, questions in shuffled order.

    The same seed and tokenizer give the same prompts. The document comes first, so its questions share a prefix.
    """
    rng = random.Random(seed)
    documents = -(-prompts // questions_per_document)
    sizes = [mean_tokens * (0.75 + 0.5 * (i + 0.5) / documents) for i in range(documents)]
    rng.shuffle(sizes)
    texts = [_document(rng, count_tokens, size) for size in sizes]
    asked = [texts[i % documents] + question(rng) for i in range(prompts)]
    rng.shuffle(asked)
    return Workload(
        tuple(Prompt(text, output_tokens) for text in asked),
        tuple(Prompt(text + question(rng), 1) for text in texts),
        f"{prompts} Chinese question-answer prompts, {mean_tokens} tokens on average over {documents} documents, "
        f"{output_tokens} tokens out, seed {seed}",
    )


def _document(rng: random.Random, count_tokens: Callable[[str], int], tokens: float) -> str:
    """Sentences until the document has about ``tokens`` tokens: a first guess, then one correction."""
    sample = [sentence(rng) for _ in range(40)]
    per_sentence = count_tokens("".join(sample)) / len(sample)
    wanted = max(1, round(tokens / per_sentence))
    sample += [sentence(rng) for _ in range(wanted - len(sample))]
    return "".join(sample[:wanted])


def load_jsonl(path: Path, output_tokens: int) -> Workload:
    """A user's prompts: one JSON object a line with ``prompt``, optionally ``output_tokens_count``.

    Raises:
        UsageError: with the number of the line that is wrong.
    """
    lines = read_file(path, _LARGEST).splitlines()
    prompts = [_row(path, number, line, output_tokens) for number, line in enumerate(lines, 1) if line.strip()]
    if not prompts:
        raise UsageError(f"{path} has no prompts in it")
    return Workload(tuple(prompts), tuple(prompts[: -(-len(prompts) // 5)]), f"{len(prompts)} prompts of {path.name}")


def _row(path: Path, number: int, line: bytes, output_tokens: int) -> Prompt:
    try:
        row: Any = line_of_json(line)
    except ValueError as fault:
        raise UsageError(f"{path}, line {number}: not JSON ({fault}); want one object a line") from fault
    text = row.get("prompt") if isinstance(row, dict) else None
    if not isinstance(text, str) or not text:
        raise UsageError(f'{path}, line {number}: want {{"prompt": "…"}}, found no text under "prompt"')
    wanted = row.get("output_tokens_count", output_tokens)
    if isinstance(wanted, bool) or not isinstance(wanted, int) or not 1 <= wanted <= _MOST_OUTPUT:
        raise UsageError(
            f"{path}, line {number}: output_tokens_count must be a whole number from 1 to {_MOST_OUTPUT:,}"
        )
    return Prompt(text, wanted)
