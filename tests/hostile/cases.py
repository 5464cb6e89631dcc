"""Each hostile input: a name, the files it is made of, the command line, and the exit codes that are right.

A list of codes with 2 or 3 alone means one line on stderr; with 0 or 1 the input is taken for what is good in it.
"""

from __future__ import annotations

import gzip
import json
import pickle
import struct
import tarfile

from tests.hostile import makers as m

EVIDENCE = ["diagnose", "--evidence", "."]
CAPTURE = ["diagnose", "--evidence", "c.tar.gz"]
COMPOSE = ["apply", "--compose", "docker-compose.yml", "--service", "vllm", "--dry-run", "--", "--seed", "7"]
APPLY = ["apply", "--config", "a.conf", "--program", "p", "--dry-run", "--", "--seed", "7"]
PLAN = ["plan", "--config", "config.json", "--gpu", "H100", "--formula"]
COMPARE = ["compare", "a.json", "b.json"]
ANY, LOOKED = (0, 1, 2, 3), (0, 1, 3)


def snapshots():
    """Allocator snapshots."""
    pickles = {
        "memo": m.memo_bomb(),
        "memo of a gigabyte": m.memo_bomb(60_000_000),
        "memo of four billion": m.memo_bomb(4_000_000_000),
        "memo put": b"\x80\x02]p400000000\n.",
        "memo of nothing": b"\x80\x04" + b"r\xff\xff\xff\x7f" * 3 + b".",
        "a text without end": m.bound_text(),
        "a text of a terabyte": m.eight_byte_text(),
        "lists": m.many_lists(),
        "shared blocks": m.shared_blocks(),
        "a command": m.evil_pickle(),
        "sets": m.set_of(b"\x8f" * 3_000_000),
        "deep": b"\x80\x04" + b"]" * 200_000 + b"a" * 199_999,
        "deep tuples": b"\x80\x04)" + b"\x85" * 2_000_000,
        "a long number": m.set_of(b"\x8b" + struct.pack("<i", 100_000_000) + b"\xff" * 1000),
        "negative length": m.set_of(b"\x8b" + struct.pack("<i", -5)),
        "a long line": b"I" + b"9" * 2_000_000 + b"\n.",
        "huge sizes": pickle.dumps(
            [{"total_size": 1 << 5000, "allocated_size": 1, "blocks": [{"size": 1 << 5000, "state": "inactive"}]}]
        ),
        "nan sizes": pickle.dumps(
            [{"total_size": float("nan"), "allocated_size": float("inf"), "blocks": [{"size": -1, "state": None}]}]
        ),
        "a frame that lies": b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"].",
        "outside": b"\x80\x04Q.",
        "extension": b"\x80\x04\x82\x01.",
        "empty": b"",
        "zeros": bytes(1 << 20),
        "noise": m.noise(),
    }
    for name, content in pickles.items():
        yield f"snapshot: {name}", {"snapshot.pickle": content, "log.txt": b"INFO x\n"}, EVIDENCE, LOOKED
    texts = {
        "deep": m.DEEP,
        "deep in a segment": '[{"total_size":1,"allocated_size":1,"frames":' + m.DEEP + "}]",
        "many lists": "[" + "[]," * 10_000_000 + "[]]",
        "absurd": '[{"total_size":1e308,"allocated_size":-1,"device":99999999999999999999}]',
    }
    for name, text in texts.items():
        yield f"snapshot as JSON: {name}", {"snapshot.json": text, "log.txt": "INFO x\n"}, EVIDENCE, LOOKED


def captures():
    """Gzipped tars."""
    bad = {
        "pax header of a gigabyte": lambda: m.huge_header(tarfile.XHDTYPE, 1 << 28),
        "global pax header": lambda: m.huge_header(tarfile.XGLTYPE, 1 << 28),
        "long name of a gigabyte": lambda: m.huge_header(tarfile.GNUTYPE_LONGNAME, 1 << 28),
        "long link": lambda: m.huge_header(tarfile.GNUTYPE_LONGLINK, 1 << 28),
        "chain of long names": lambda: m.chain(tarfile.GNUTYPE_LONGNAME, 20_000),
        "chain of pax headers": lambda: m.chain(tarfile.XHDTYPE, 20_000),
        "link": lambda: m.tar(("facts.json", b"", tarfile.SYMTYPE, {"linkname": "/etc/passwd"})),
        "hard link": lambda: m.tar(("facts.json", b"", tarfile.LNKTYPE, {"linkname": "x"})),
        "device": lambda: m.tar(("facts.json", b"", tarfile.CHRTYPE, {"devmajor": 1, "devminor": 5})),
        "sparse": lambda: m.tar(("facts.json", b"", tarfile.GNUTYPE_SPARSE, {})),
        "many members": lambda: m.tar(*[m.file(f"f{i}") for i in range(2_000)]),
        "a bomb of a gigabyte": lambda: m.zeros(1 << 28, _header("facts.json", 1 << 30)),
        "a bomb before it": lambda: m.zeros(1 << 28, _header("x", 1 << 30)),
        "a size that lies": lambda: gzip.compress(_header("facts.json", 1 << 20) + b"{}"),
        "a negative size": lambda: gzip.compress(_header("facts.json", 0, lie=b"\xff" * 12)),
        "nothing in it": m.tar,
        "another file": lambda: m.tar(m.file("other.json")),
        "cut off": lambda: m.tar(m.file(content=m.noise()))[:3000],
        "two in one": lambda: gzip.compress(b"") * 3,
        "facts that are deep": lambda: m.tar(m.file(content=m.DEEP.encode())),
        "facts without facts": lambda: m.tar(m.file(content=b"[1]")),
        "facts in no UTF-8": lambda: m.tar(m.file(content=b'{"target": "\xff"}')),
        "facts of another type": lambda: m.tar(m.file(content=m.facts(max_model_len=1e308))),
        "half a character": lambda: m.tar(m.file(content=m.facts(model="\\ud800").replace(b"\\\\", b"\\"))),
        "noise": m.noise,
        "gzip of noise": lambda: gzip.compress(m.noise()),
        "a plain tar": lambda: gzip.decompress(m.tar(m.file())),
    }
    for name, make in bad.items():
        yield f"capture: {name}", {"c.tar.gz": make}, CAPTURE, (2,)
    gpu = {"index": 0, "uuid": None, "name": "[/red]", "total_bytes": 0, "used_bytes": -(10**18)}
    gpus = {"type": "Gpus", "gpus": [gpu], "processes": [], "source": "[bold", "lists_processes": True}
    odd = {
        "gpus of nothing": m.facts(gpus=gpus),
        "series": m.facts(
            series=[{"what": "host", "values": [1e308, -1e308, 0.0, 1e308], "text": "[/x]", "hours": 0.0}]
        ),
        "pool": m.facts(pool={"type": "Pool", "gpu_cache_usage": 1, "free_blocks": 0, "largest_free_block": 9}),
        "a log of absurd numbers": m.facts(log=_log()),
        "digits": m.facts(cards="1" * 200_000, launch=_launch("1" * 60_000)),
    }
    for name, content in odd.items():
        yield f"capture: {name}", {"c.tar.gz": m.tar(m.file(content=content))}, CAPTURE, ANY


def _header(name, size, lie=None):
    entry = tarfile.TarInfo(name)
    entry.size = size
    block = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    if lie is not None:
        block[124:136] = lie
        block[148:156] = b" " * 8
        block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def _launch(command):
    return {"type": "Launch", "command": command, "flags": {"--max-model-len": "9" * 5000}, "source": "x", "env": {}}


def _log():
    numbers = dict.fromkeys(("tokens", "weights", "kv", "need", "have", "total", "blocks", "limit"), 1e308)
    kinds = ("kv_size", "model_loaded", "profiled", "kv_context", "oom_killed", "graphs_took", "step_tokens")
    events = [{"kind": kind, "text": "[/bold]" + "9" * 300, "numbers": numbers} for kind in kinds]
    oom = dict.fromkeys(("asked", "total", "free", "mine", "others", "allocated", "unallocated"), 2**62)
    load = dict.fromkeys(("running", "waiting", "usage", "hit_rate", "prompt_rate", "generation_rate"), -1e308)
    return {
        "type": "Log",
        "size": 9,
        "lives": 10**18,
        "events": events,
        "ooms": [{"text": "x", **oom}],
        "loads": [load] * 9,
    }


def yaml_files():
    """Compose files."""
    bad = {
        "laughs": m.laughs(),
        "laughs by merging": m.merged_laughs(),
        "long strings": m.long_strings(),
        "itself": "a: &a [*a]\nservices: {vllm: {command: *a}}\n",
        "itself by name": "services: &s {vllm: *s}\n",
        "deep": "services: " + "[" * 20_000,
        "deep blocks": "\n".join(" " * i + "a:" for i in range(500)),
        "deep dashes": "- " * 20_000 + "a",
        "a Python object": "services: {vllm: {command: !!python/object/apply:os.system [touch pwned]}}\n",
        "a tag of its own": "services: {vllm: {command: !x y}}\n",
        "no number": "services: {vllm: {command: !!int ''}}\n",
        "no truth": "services: {vllm: {command: !!bool perhaps}}\n",
        "a number without end": f"services: {{vllm: {{command: {'9' * 100_000}}}}}\n",
        "no time": "services: {vllm: {command: !!timestamp 9999-99-99}}\n",
        "no key": "? [a, b]\n: c\n? {a: b}\n: d\n",
        "a set": "services: !!set {vllm}\n",
        "many anchors": "\n".join(f"a{i}: &a{i} 1" for i in range(40_000)),
        "large": "a: b\n" * 200_000,
        "nul": "a\0b",
        "two documents": "a: b\n---\nc: d\n",
        "a tab": "a:\n\t- b\n",
        "twice": "services: {vllm: {command: a}}\nservices: {vllm: {command: b}}\n",
        "a quote": m.compose('"a \'b"'),
        "a number": m.compose("5"),
        "an empty list": m.compose("[]"),
        "services of a list": "services: [vllm]\n",
        "an unknown alias": m.compose("*nobody"),
        "a directive": "%YAML 9.9\n---\na: b\n",
        "no UTF-8": b"services: \xff\xfe",
        "UTF-16": "services: {vllm: {command: a}}".encode("utf-16"),
    }
    for name, text in bad.items():
        yield (
            f"compose: {name}",
            {"docker-compose.yml": text},
            COMPOSE,
            (0, 2) if name in ("twice", "a quote") else (2,),
        )
    odd = {
        "ports of everything": m.compose("a --port 8000", "")
        + "    ports: [[], {}, 5, null, 'a:b:c:d', {target: []}, 1:2]\n",
        "a list of everything": m.compose("[a, 5, null, {b: c}, [d, [e]], 1.5, 2001-01-01]"),
        "restart of a list": m.compose("a") + "    restart: [a, {b: c}]\n",
    }
    for name, text in odd.items():
        yield f"compose: {name}", {"docker-compose.yml": text}, COMPOSE, (0, 2)
    head = "# unfrag wrote this; `unfrag rollback` takes it back.\n"
    for name, text in {"laughs": m.laughs(), "a list": "- a\n", "services of a list": "services: [a]\n"}.items():
        files = {"docker-compose.yml": m.compose("a"), "docker-compose.override.yml": head + text}
        yield f"override: {name}", files, COMPOSE, (2,)


def configs():
    """Configurations of models."""
    odd = {
        "one expert": {"model_type": "qwen3_next", "num_experts": 1, "num_experts_per_tok": 10},
        "no attention": {"hybrid_override_pattern": "x"},
        "only mlp": {"layer_types": ["mlp"] * 3},
        "layers by the trillion": {
            "layer_types": {"full_attention": 10**12, "sliding_attention": 1},
            "sliding_window": 9,
        },
        "huge pattern": {"hybrid_override_pattern": "M*" * 1_000_000},
        "experts by the million": {"num_experts": 10**6, "num_experts_per_tok": 10**6, "moe_intermediate_size": 10**6},
        "all large": {
            "hidden_size": 2**18,
            "num_experts": 2**14,
            "moe_intermediate_size": 2**22,
            "num_hidden_layers": 4096,
        },
        "mla of nothing": {"kv_lora_rank": 1, "qk_rope_head_dim": 1, "model_type": "deepseek_v3"},
        "sparse": {
            "kv_lora_rank": 1,
            "qk_rope_head_dim": 1,
            "model_type": "deepseek_v32",
            "indexer_full_layers": 2**40,
        },
        "mamba": {"layer_types": ["mamba", "full"], "mamba_num_heads": 10**12, "ssm_state_size": 10**12, "head_dim": 1},
        "linear": {"layer_types": ["linear_attention"] * 9, "linear_num_value_heads": 10**12},
        "steps": {"num_experts": 8, "interleave_moe_layer_step": 10**9, "first_k_dense_replace": 10**9},
        "quantised by a tree": {"quantization_config": {"quant_method": ["a"] * 9, "bits": {"a": [1]}}},
        "quantised by a novel": {"quantization_config": "x" * 1_000_000},
        "a type of a million letters": {"model_type": "x" * 1_000_000},
        "a type of a list": {"model_type": ["llama"], "torch_dtype": {"a": 1}, "mamba_ssm_dtype": []},
        "an encoder": {"model_type": "bert"},
        "markup": {"model_type": "[/bold]", "torch_dtype": "[red]"},
        "half a character": {"model_type": "\ud800"},
        "drafts": {"num_nextn_predict_layers": 10**6},
        "texts": dict.fromkeys(m.MODEL, "x"),
        "text of a tree": {"text_config": {"text_config": {"num_hidden_layers": 1e308}}},
    }
    for name, more in odd.items():
        for more_words in (["--json"], ["--explain"]):
            words = [*PLAN, *more_words]
            yield f"config: {name} {' '.join(more_words)}".strip(), {"config.json": m.model(**more)}, words, ANY
    bad = {
        "no heads": m.model(num_key_value_heads=0),
        "no rank": m.model(kv_lora_rank=0, qk_rope_head_dim=0),
        "more types than layers": m.model(layer_types=["full_attention"] * 33),
        "deep": m.DEEP,
        "deep inside": '{"num_hidden_layers": 2, "a": ' + m.DEEP[:150] + m.DEEP[-150:] + "}",
        "NaN": '{"num_hidden_layers": NaN}',
        "a long number": '{"num_hidden_layers": ' + "9" * 100_000 + "}",
        "a list": "[]",
        "empty": "",
        "no UTF-8": b'{"a": "\xff"}',
        "a byte order mark": b"\xff\xfe{\0}\0",
        "large": "[" + "[]," * 8_000_000 + "[]]",
    }
    for name, text in bad.items():
        yield f"config: {name}", {"config.json": text}, PLAN, (2, 3)
    for name, text in {
        "deep": m.DEEP,
        "a total of a list": '{"metadata": {"total_size": []}}',
        "noise": m.noise(),
    }.items():
        files = {"config.json": m.model(), "model.safetensors.index.json": text}
        yield f"safetensors index: {name}", files, ["plan", "--config", ".", "--gpu", "H100", "--formula"], ANY


def numbers():
    """What is typed."""
    good = {"config.json": m.model()}
    for words in (
        ["--max-model-len", "128k"],
        ["--max-model-len", "128K"],
        ["--gpu", "H100x4"],
        ["--gpu", "4xH100"],
        ["--gpu", "4 x H100"],
        ["--gpu", "RTX 4090"],
        ["--engine-version", "9" * 9000],
        ["--engine-version", "9." * 9000],
    ):
        yield f"plan {words[0]} {words[1][:12]}", good, [*PLAN, *words], (0, 1)
    for words in (
        ["--max-model-len", "9" * 9000],
        ["--max-model-len", "1e9"],
        ["--max-model-len", "-1"],
        ["--max-model-len", "nan"],
        ["--max-model-len", "128q"],
        ["--gpu-count", "0"],
        ["--gpu", "H100x4", "--gpu-count", "2"],
        ["--gpu", "B700"],
        ["--gpu", "1" * 100_000],
        ["--gpu", "9999x9999xH100"],
        ["--gpu-memory", "nan"],
        ["--gpu-memory", "inf"],
        ["--gpu-memory", "1e308"],
        ["--prefill-rate", "inf"],
        ["--model", "a\n[Service]\nExecStartPre=/bin/sh", "--as", "systemd"],
        ["--model", "a\nb", "--as", "supervisor"],
        ["--model", "a\rb", "--as", "compose"],
        ["--model", "a\x1bb", "--as", "kubernetes"],
        ["--model=--trust-remote-code"],
        ["--tp", "1000000"],
        ["--svg", "."],
        ["--svg", "/proc/x"],
        ["--svg", "\udcff/\udcfe"],
    ):
        yield f"plan {' '.join(words)[:40]!r}", good, [*PLAN, *words], (2,)
    yield "a verb", {}, ["diagnos"], (2,)
    yield "a verb of bytes", {}, ["\udcff"], (2,)
    yield "a verb of a megabyte", {}, ["x" * 100_000], (2,)
    for url in (
        "http://127.0.0.1:1/v1",
        "http://127.0.0.1:1/v1/chat/completions",
        "http://127.0.0.1:1/health",
        "http://[",
        "http://a b",
    )[:]:
        yield f"url {url}", {}, ["diagnose", "--url", url], (2,)
    for url in (
        "http://\udcff",
        "http://a:99999999999",
        "http://" + "a" * 100_000,
        "http://x\n:1",
        "http://\0",
        "file:///etc/passwd",
    ):
        yield f"url {url[:20]!r}", {}, ["diagnose", "--url", url.replace("\0", "%00\x01")], (2, 3)


def results():
    """Results of a bench, traces, prompts."""
    good = m.result()
    bad = {
        "deep": m.DEEP,
        "of another type": "[]",
        "empty": "",
        "noise": m.noise(),
        "a NaN": good.replace("1.0", "NaN", 1),
        "a number of a list": m.result(failed=[]),
        "a long number": good.replace('"failed": 0', '"failed": ' + "9" * 5000),
        "no UTF-8": good.encode().replace(b'"a"', b'"\xff"'),
        "large": b"[" * (17 << 20),
    }
    for name, text in bad.items():
        yield f"compare: {name}", {"a.json": good, "b.json": text}, COMPARE, (2,)
    odd = {
        "absurd": m.result(tokens_per_second=1e308, ttft_p50=-1e308, tpot_p50=1e308, prefix_hit_rate=1e308),
        "tiny": m.result(tokens_per_second=5e-324, ttft_p50=5e-324),
        "markup": m.result(label="[/red]", seconds=1e308),
        "colour": m.result(label="[link=x]", failed=10**18),
        "no repeats": json.dumps({**m.RESULT, "repeats": []}),
        "huge": m.result(preempted=2**62),
        "beyond 64 bits": json.dumps({**m.RESULT, "pool_tokens": 10**30}),
        "half a character": m.result(label="\ud800"),
        "what a terminal obeys": m.result(label="\x1b]0;x\x07\x1b[2J\x9b1m\u202e"),
    }
    for name, text in odd.items():
        for words in ([*COMPARE, "--json"], ["compare", "b.json", "a.json"]):
            yield f"compare: {name} {words[-1]}", {"a.json": good, "b.json": text}, words, (0, 2)
    lines = {
        "deep": m.DEEP,
        "absurd": '{"input_length": 1e308, "output_length": 1e308, "hash_ids": [1e308]}',
        "NaN": '{"input_length": NaN, "output_length": Infinity}',
        "one line": "x" * 30_000_000,
        "nul": "\0" * 1_000_000,
        "noise": m.noise(),
        "no list": '{"input_length": 1, "output_length": 1, "hash_ids": 5}',
        "a long number": '{"input_length": ' + "9" * 5000 + ', "output_length": 1}',
    }
    for name, text in lines.items():
        files = {"config.json": m.model(), "t.jsonl": text, "x.json": good}
        yield f"trace: {name}", files, [*PLAN, "--trace", "t.jsonl"], (2, 3)
        words = ["bench", "--url", "http://127.0.0.1:1", "--jsonl", "t.jsonl"]
        yield f"jsonl: {name}", files, words, (2,)


def pasted():
    """Evidence in files of their own names."""
    texts = {
        "digits": "1" * 1_000_000,
        "digits and commas": "1," * 500_000,
        "spaces": " " * 1_000_000,
        "lines": "\n" * 2_000_000,
        "nul": "\0" * 1_000_000,
        "noise": m.noise(1 << 20),
        "deep": m.DEEP,
        "quotes": "'\"" * 500_000,
        "backslashes": "\\\n" * 300_000,
        "braces": "{" * 500_000,
        "flags": "--a " * 200_000,
        "metrics": "vllm:a 1\n" * 100_000,
        "words": "Tried to allocate 1.5 GiB out of memory " * 25_000,
        "surrogates": b"\xed\xa0\x80" * 100_000,
        "half UTF-16": b"\xff\xfe" + b"a\0" * 100_000 + b"\xd8",
    }
    for name, text in texts.items():
        names = ("log.txt", "nvidia_smi.txt", "metrics.txt", "health.json", "launch.txt", "context.json")
        yield f"evidence: {name}", dict.fromkeys(names, text), EVIDENCE, LOOKED
    context = {
        "cards of digits": {"gpus": "1" * 500_000},
        "cards of a tree": {"gpus": [[["a"] * 9] * 9] * 9},
        "what a terminal obeys": dict.fromkeys(("gpus", "engine", "model", "engine_version"), "80GB\x1b[2J\u202e"),
        "markup": {"gpus": "[/red]", "engine": "[bold]", "model": "[/]"},
        "many cards": {"expected_cards": "9" * 5000, "gpus": "99999999x H100 99999999GB 99999999 TB RAM"},
    }
    for name, value in context.items():
        yield f"context.json: {name}", {"context.json": json.dumps(value), "log.txt": "INFO x\n"}, EVIDENCE, LOOKED
    pool = {"gpu_cache_usage": 0.5, "free_blocks": 5, "largest_free_block": 5}
    health = {
        "absurd blocks": {
            **pool,
            "total_blocks": 2**53,
            "block_size_bytes": 2**53,
            "cached_blocks": 2**53,
            "pinned_blocks": 0,
        },
        "no blocks": {**pool, "total_blocks": 0, "block_size_tokens": 0, "free_blocks": 0, "largest_free_block": 0},
        "ages": {**pool, "age_seconds": 1e308, "steps": 2**53},
        "ranks": {
            **pool,
            "ranks": [{"rank": 2**63, "device": "[/x]", "total_bytes": -(2**62), "reserved_bytes": 2**62}],
        },
        "a huge rank": {**pool, "ranks": [{"rank": 0, "device": "x", "total_bytes": 10**40}]},
    }
    for name, value in health.items():
        for words in (EVIDENCE, [*EVIDENCE, "--json"]):
            yield (
                f"health.json: {name} {words[-1]}",
                {"health.json": json.dumps({"memory_stats": value})},
                words,
                LOOKED,
            )
    obeyed = "ERROR Free memory: 1.2 GiB, allocation failed \x1b]0;x\x07\x1b[2J\x9b1m\u202e\n"
    files = dict.fromkeys(("log.txt", "launch.txt", "nvidia_smi.txt"), obeyed)
    yield "log.txt: what a terminal obeys", files, EVIDENCE, LOOKED
    bombs = {"log.txt.gz": lambda: m.zeros(1 << 26), "log.gz": lambda: m.zeros(1 << 26, b"INFO x\n")}
    for file, make in bombs.items():
        yield f"{file}: a bomb", {file: make}, EVIDENCE, LOOKED
    yield "log.zst: noise", {"log.zst": b"\x28\xb5\x2f\xfd" + m.noise()}, EVIDENCE, LOOKED
    yield "log.txt: one line", {"log.txt": b"INFO " + b"x" * 50_000_000}, EVIDENCE, LOOKED


def settings():
    """Thresholds, policies, targets, supervisor's files."""
    for name, text in {
        "deep": "a = " + "[" * 100_000,
        "a text": "[kv_pool_too_small]\nusage = 'x'\n",
        "NaN": "[engine_stalled]\nseconds = nan\n",
        "a table": "[engine_stalled.seconds]\na = 1\n",
        "no table": "engine_stalled = 5\n",
        "noise": m.noise(),
        "a huge number": f"[engine_stalled]\nseconds = {'9' * 5000}\n",
        "a key of parts": ".".join("a" * 20_000) + " = 1\n",
        "a table of parts": f"[{'.'.join(['a'] * 20_000)}]\n",
        "quoted parts": " . ".join(["'a'", '"\\""'] * 10_000) + " = 1\n",
        "parts behind a text": 'a = """\\""""\n' + ".".join("a" * 20_000) + " = 1\n",
        "quotes": '"' + '\\"' * 500_000,
        "open texts": '"""a' * 250_000,
        "large": "# \n" * 500_000,
        "inline tables": "a = " + "{a.a.a.a.a.a.a.a.a=" * 50_000,
    }.items():
        words = [*EVIDENCE, "--thresholds", "t.toml"]
        yield f"thresholds: {name}", {"t.toml": text, "log.txt": "INFO x\n"}, words, (2,)
        words = ["guard", "--once", "--dry-run", "--log", "audit", "--url", "http://127.0.0.1:1", "--policy", "t.toml"]
        yield f"policy: {name}", {"t.toml": text}, words, (2,)
    for name, text in {"deep": m.DEEP, "noise": m.noise(), "a dns of digits": '[{"dns": "a:99999999999"}]'}.items():
        words = ["guard", "--targets", "t.json", "--once", "--dry-run", "--log", "audit"]
        yield f"targets: {name}", {"t.json": text}, words, (2,)
    for name, text in {
        "deep": m.DEEP,
        "no flags": '{"flags": []}',
        "a flag of a line": '{"flags": [{"flag": "--a\\nb", "value": "x"}]}',
        "noise": m.noise(),
    }.items():
        files = {"a.conf": "[program:p]\ncommand=vllm serve m\n", "p.json": text}
        words = ["apply", "--config", "a.conf", "--program", "p", "--plan", "p.json", "--dry-run"]
        yield f"plan.json: {name}", files, words, (2,)
    for name, text in {
        "noise": m.noise(),
        "digits": "1" * 1_000_000,
        "no section": "command=a\n",
        "an open bracket": "[program:p\ncommand=a\n",
        "nul": "\0" * 1000,
        "spaces": "[program:p]\ncommand=" + " " * 200_000 + "\n",
        "includes itself": "[include]\nfiles = a.conf\n",
        "programs": "[program:p]\ncommand=vllm serve m\n" + "[program:q]\ncommand=a\n" * 5_000,
        "expansions": "[program:p]\ncommand=%(here)s/vllm serve m --a 90%% %(ENV_X)s %(process_num)02d ; 5%\n",
    }.items():
        yield f"ini: {name}", {"a.conf": text}, APPLY, (0, 2)
    for name, text in {
        "large": "[program:p]\ncommand=vllm serve m\n" + "; \n" * 400_000,
        "a long command": "[program:p]\ncommand=vllm serve m " + "--a " * 200_000,
        "a long word": "[program:p]\ncommand=vllm serve " + "m" * 900_000,
        "an open quote": "[program:p]\ncommand=vllm serve 'm --seed 1\n",
        "a quote that a comment cuts": "[program:p]\ncommand=vllm serve 'm ; x' --seed 1\n",
        "a NUL": "[program:p]\ncommand=vllm serve m\0 --seed 1\n",
        "a lone percent": "[program:p]\ncommand=vllm serve m --a 90%\n",
        "half an expansion": "[program:p]\ncommand=vllm serve %(here --seed 1\n",
        "an expansion of nothing": "[program:p]\ncommand=vllm serve %(here)/m --seed 1\n",
    }.items():
        yield f"ini: {name}", {"a.conf": text}, APPLY, (2,)


def everything():
    """All of them."""
    for group in (snapshots, captures, yaml_files, configs, numbers, results, pasted, settings):
        yield from group()
