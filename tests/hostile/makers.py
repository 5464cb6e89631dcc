"""Files made to break a reader: bombs of a few bytes or megabytes, and what is merely absurd."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zlib

DEEP = "[" * 200_000 + "]" * 200_000
MODEL = {
    "model_type": "llama",
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128_256,
    "intermediate_size": 14_336,
    "max_position_embeddings": 131_072,
}
REPEAT = {
    "requests": 1,
    "failed": 0,
    "preempted": 0,
    "seconds": 1.0,
    **dict.fromkeys(("ttft_p50", "ttft_p95", "ttft_p99", "tpot_p50", "tpot_p95"), 1.0),
    "tokens_per_second": 1.0,
    **dict.fromkeys(("prefix_hit_rate", "kv_usage_mean", "kv_usage_peak", "tokens_per_mib"), 0.5),
}
RESULT = {
    "label": "a",
    "target": "http://x",
    "engine_version": None,
    "command": None,
    "workload": "w",
    "in_flight": 1,
    "repeats": [REPEAT],
}


def model(**more):
    return json.dumps({**MODEL, **more})


def result(label="a", **more):
    return json.dumps({**RESULT, "label": label, "repeats": [{**REPEAT, **more}]})


def compose(command, more=""):
    return f"{more}services:\n  vllm:\n    command: {command}\n"


def laughs():
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    return "\n".join(lines) + "\nservices: {vllm: {command: *a11}}\n"


def merged_laughs():
    """The same by merge keys."""
    lines = ["m0: &m0 {a: b, c: d}"]
    lines += [f"m{i}: &m{i} {{x{i}: [{', '.join([f'*m{i - 1}'] * 9)}], <<: *m{i - 1}}}" for i in range(1, 12)]
    return "\n".join(lines) + "\nservices: {vllm: {<<: *m11, command: a}}\n"


def long_strings():
    text = "x" * 100_000
    return f"s: &s {text}\nservices: {{vllm: {{command: [{', '.join(['*s'] * 5000)}]}}}}\n"


def tar(*entries):
    """(name, content, type, fields) each."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.GNU_FORMAT) as archive:
        for name, content, kind, fields in entries:
            entry = tarfile.TarInfo(name)
            entry.size, entry.type = len(content), kind
            for field, value in fields.items():
                setattr(entry, field, value)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def file(name="facts.json", content=b"{}"):
    return name, content, tarfile.REGTYPE, {}


def huge_header(kind, size):
    """A header that says that so many bytes of a name follow, and they do: zeros, which shrink to a thousandth."""
    entry = tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = kind, size
    pack = zlib.compressobj(1, wbits=31)
    parts = [pack.compress(entry.tobuf(tarfile.GNU_FORMAT))]
    block = bytes(1 << 20)
    parts += [pack.compress(block) for _ in range(size >> 20)]
    return b"".join(parts) + pack.flush()


def zeros(size, head=b""):
    """Gzip of so many zero bytes."""
    pack = zlib.compressobj(9, wbits=31)
    parts = [pack.compress(head)] + [pack.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return b"".join(parts) + pack.flush()


def chain(kind, number):
    """Long names of long names: the reader of the standard library calls itself for each."""
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, 512
    return gzip.compress((header.tobuf(tarfile.GNU_FORMAT) + bytes(512)) * number)


def memo_bomb(index=400_000_000):
    return b"\x80\x04]r" + struct.pack("<I", index) + b"."


def shared_blocks():
    """One list of a million blocks that a thousand segments share: small in memory, endless to add up."""
    blocks = [{"size": 1, "state": "inactive"}] * 100_000
    return pickle.dumps([{"device": 0, "total_size": 1, "allocated_size": 0, "blocks": blocks}] * 10_000)


def many_lists(number=5_000_000):
    return b"\x80\x04](" + b"]" * number + b"e."


def bound_text(size=400_000_000):
    return b"\x80\x04X" + struct.pack("<I", size) + b"abc"


def eight_byte_text():
    return b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"abc"


def set_of(code):
    return b"\x80\x04" + code + b"."


def evil_pickle():
    return b"cos\nsystem\n(S'touch pwned'\ntR."


def facts(**more):
    """Facts of a capture: all unknown but for what is given."""
    names = ["engine", "engine_version", "model", "max_model_len", "pool", "metrics", "gpus", "log", "launch", "cards"]
    names += ["notes", "series", "host", "isolation", "allocator"]
    unknown = {name: {"type": "Unknown", "why": "not given"} for name in names}
    return json.dumps({"target": "x", **unknown, **more}).encode()


def noise(size=1 << 16):
    return os.urandom(size)
