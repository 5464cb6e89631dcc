"""SGLang, LMDeploy, Ray, LMCache, Mooncake, and the lines of the guide that unfrag began with."""

from __future__ import annotations

from unfrag.doctor.probes.log.pattern import Message as M

MESSAGES = (
    M("ready", ("text_generation_router",), r"text_generation_router\S*: .{0,80}Connected"),
    M("kv_pinned", ("are pinned", "eviction candidates"), r"(?:all objects are pinned|No eviction candidates found)"),
    M("sparse_pages", ("vs. aligned",), r"block size <piece:int> vs\. aligned <wanted:int>"),
    M("model_loaded", ("loading weights done",), r"loading weights done,? <weights:size>"),
    M("cached_turns", ("cached tokens per turn",), r"cached tokens per turn (?P<turns>[0-9][0-9, ]*)"),
    M(
        "cached_tokens",
        ("cached-token", "cached tokens"),
        r"cached[- ]tokens? <first:int>\b.{1,400}cached[- ]tokens? <last:int>\b",
    ),
    # SGLang
    M("start", ("server_args=ServerArgs",), r"server_args=ServerArgs\("),
    M("arguments", ("server_args=ServerArgs",), r"server_args=ServerArgs\("),
    M(
        "model_loaded",
        ("Load weight end",),
        r"Load weight end\..{0,160}avail mem=<avail:gib> GB(?:.{0,40}mem usage=<weights:gib> GB)?",
    ),
    M(
        "kv_size",
        ("#tokens:", "max_total_num_tokens"),
        r"(?:KV Cache is allocated.{0,60}#tokens: <tokens:int>|max_total_num_tokens=<total:int>(?:.{0,160}context_len=<context:int>)?)",
    ),
    M(
        "prompt_over_pool",
        ("exceeds the maximum allowed length",),
        r"Input length \(<tokens:int> tokens\) exceeds the maximum allowed length \(<allowed:int> tokens\)",
    ),
    M("graphs_took", ("Capture cuda graph end",), r"Capture cuda graph end\..{0,60}mem usage=<graphs:gib> GB"),
    M(
        "unbalanced",
        ("memory capacity is unbalanced",),
        r"memory capacity is unbalanced(?:.{0,120}pre_model_load_memory=<low:num>, local_gpu_memory=<own:num>)?",
    ),
    M(
        "graph_capture_failed",
        ("apture cuda graph failed", "apture CUDA graph failed"),
        r"[Cc]apture (?:cuda|CUDA) graph failed",
    ),
    M("kv_none", ("Not enough memory",), r"Not enough memory\. Please try (?:to )?increas\w+ --mem-fraction-static"),
    M(
        "retracted",
        ("etract", "Decode out of memory"),
        r"(?:KV cache pool is full\. Retract requests|Decode out of memory happened|Retract requests)(?:.{0,40}#retracted_reqs: <count:int>)?",
    ),
    M("pool_leak", ("memory leak detected",), r"(?:token_to_kv_pool_allocator|pool) memory leak detected"),
    M(
        "watchdog",
        (
            "Watchdog timeout",
            "watchdog timeout",
            "Watchdog caught",
            "hung",
            "Scheduler hit an exception",
            "scheduler watchdog",
        ),
        r"(?:(?<!NCCL\x20)Watchdog timeout \(|self\.watchdog_timeout|Scheduler watchdog|Scheduler or tokenizer.{0,20}hang)",
    ),
    M(
        "no_tokens",
        ("enerated tokens", "eneration tokens", "tokens generated"),
        r"(?:generated|generation) tokens.{0,40}[:=] ?0\b|\b0 tokens generated",
    ),
    M(
        "health_failed",
        ("ealth check failed", "ealth_generate", "ealth check"),
        r"[Hh]ealth check failed\. Server couldn't get a response",
    ),
    # LMDeploy
    M(
        "kv_none",
        ("free_mem_size", "No enough gpu memory", "o enough"),
        r"(?:No enough gpu memory|can't allocate (?:any )?(?:k/v|kv) (?:cache )?blocks|max_block_count.{0,20}must be)",
    ),
    M("cache_entries", ("enough cache entries", "cache_max_entry_count"), r"[Nn]o enough cache entries"),
    M("converting", ("turbomind format",), r"Convert to turbomind format: .{0,20}?<percent:int>%"),
    M("start", ("turbomind",), r"turbomind.{0,20}engine (?:config|version)"),
    # LMCache, Mooncake
    M(
        "offload_host",
        ("max_local_cpu_size", "pinned", "LocalCPUBackend"),
        r"(?:Failed to (?:allocate|pin|register) .{0,60}(?:pinned|host|CPU) memory|Unable to (?:allocate|register) .{0,30}(?:pinned|host) (?:memory|buffer))",
    ),
    # The guide's own lines
    M("load_timeout", ("waiting for model load", "model load"), r"time[d -]*out waiting for model load"),
    M(
        "free_but_failed",
        ("ree memory:", "ree memory ="),
        r"[Ff]ree memory[:=] ?<free:size>.{0,80}(?:fail|error|cannot|unable|OOM)",
    ),
)
