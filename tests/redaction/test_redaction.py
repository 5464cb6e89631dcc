"""Texts for people stay readable and hold no key; the same words, over and over, take no more than their length."""

import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import planted
from unfrag.doctor.allowed.log import allow_log
from unfrag.redaction import redact

KEYS = planted.contexts("keys")
SECRETS = st.text(string.ascii_letters + string.digits + "-_+/!@#%^*", min_size=12, max_size=40).map(
    lambda text: "Qz7" + text.strip("-_+/!@#%^*") + "x9"
)


@pytest.mark.parametrize("context", KEYS)
def test_no_key_is_left(context):
    for seed in range(3):
        case = planted.Planted(context, seed)
        assert case.secrets
        assert case.left_in(redact(case.text)) == []


@pytest.mark.parametrize("context", planted.contexts("prompts"))
def test_what_a_user_asked_is_not_left_behind_its_name(context):
    case = planted.Planted(context)
    assert case.secrets
    assert case.left_in(redact(case.text)) == []


@pytest.mark.parametrize("word", planted.contexts("harmless"))
def test_a_harmless_word_stays(word):
    assert redact(word) == word
    assert (
        redact(f"INFO 11-22 10:00:00 [core.py:3] {word} and more") == f"INFO 11-22 10:00:00 [core.py:3] {word} and more"
    )


@pytest.mark.parametrize(
    "line",
    [
        "docker run -u 1000:1000 --gpus all vllm/vllm-openai",
        "docker run -u $(id -u):$(id -g) vllm/vllm-openai",
        "journalctl -u vllm -f",
        "python -u -m vllm.entrypoints.openai.api_server --model m",
        "curl -u http://127.0.0.1:8000",
        "set -euo pipefail",
        "please set HF_TOKEN for this model",
        "authorization is required for this",
        "key_cache, value_cache = kv_cache[0], kv_cache[1]",
        "new_key_value_head=8 KEY_VALUE_HEADS=8 input_token_len=5",
    ],
)
def test_what_only_looks_like_a_login_or_a_key_stays(line):
    assert redact(line) == line


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("curl -u 'me:Kq7x' http://h", "curl -u 'me:[taken out]' http://h"),
        ('{"h": "Cookie: a=1; b=Kq7x", "y": 2}', '{"h": "Cookie: [taken out]", "y": 2}'),
        ('"Env": ["HF_TOKEN=\'Kq7x\'", "B=\'y\'"]', '"Env": ["HF_TOKEN=\'[taken out]\'", "B=\'y\'"]'),
        ("--api-key Kq7x \\\n  --port 8000", "--api-key [taken out] \\\n  --port 8000"),
        ("ipmitool -U ADMIN -P Kq7x power status", "ipmitool -U ADMIN -P [taken out] power status"),
    ],
)
def test_no_more_than_the_key_is_taken_out(line, left):
    assert redact(line) == left


@pytest.mark.parametrize("part", ["keys", "prompts", "unnamed", "harmless"])
def test_a_text_keeps_its_lines(part):
    for context in planted.contexts(part):
        text = planted.Planted(context).text
        assert redact(text).count("\n") == text.count("\n"), context


PLAIN = [line for line in KEYS if "{KEY}" in line and "a/{KEY}" not in line]


@settings(max_examples=150)
@given(st.sampled_from(PLAIN), SECRETS)
def test_no_random_key_survives(context, key):
    if "://" in context or "tcp(" in context or "?" in context:
        key = "".join(char for char in key if char.isalnum() or char in "-_")
    case = planted.Planted(context, key=key)
    assert key not in redact(case.text)
    assert key not in allow_log(case.text).text


@settings(max_examples=100)
@given(
    st.sampled_from(planted.contexts("prompts") + planted.contexts("unnamed")),
    st.text(string.ascii_lowercase, min_size=9, max_size=12),
)
def test_no_random_word_of_a_prompt_survives_in_a_capture(context, word):
    word = "zq" + word
    text = planted.Planted(context).text.replace("pelicans", word)
    assert word not in allow_log(text).text


@settings(max_examples=100)
@given(st.text(max_size=400))
def test_any_text_is_taken_and_twice_is_once(text):
    once = redact(text)
    assert once.count("\n") == text.count("\n")
    assert redact(once).count("\n") == text.count("\n")


@pytest.mark.parametrize(
    "piece",
    [
        "a", "1", " ", "\n", "=", ":", "'", '"', "\\", "-", "[", "{", "eyJ", "ey.", "://", "a:b@", "key=", "api_key: ", "prompt='",
        "prompt=[", "--api-key ", "password is ", "-----BEGIN PRIVATE KEY-----\n", "sk-", "?sig=", "name: X_KEY\n", "密码", "<|im_start|>",
        "key: |\n ", "x://y:", "token a ", "login a ", "mysql -x ", "kind: Secret\ndata:\n", ".", "aB1", "b'", "('a', 'b'), ", "[INST]",
    ],
)  # fmt: skip
def test_work_grows_no_faster_than_a_text(piece, processor_seconds):
    small, large = (processor_seconds(redact, piece * (size // len(piece))) for size in (8_000, 64_000))
    assert large < 32 * max(small, 0.002)


def test_json_of_texts_stays_json():
    before = json.dumps(
        {"api_key": "fakeKey1234", "prompt": "hello", "max_tokens": 16, "args": ["--api-key", "fakeKey1234"]}
    )
    assert json.loads(redact(before)) == {
        "api_key": "[taken out]", "prompt": "[taken out]", "max_tokens": 16, "args": ["--api-key", "[taken out]"]
    }  # fmt: skip
