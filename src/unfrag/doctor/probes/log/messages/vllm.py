"""vLLM, V0 (0.4 to 0.8) and V1 (0.6 to 0.32). Read in the source of 0.32 and known from older releases."""

from __future__ import annotations

from unfrag.doctor.probes.log.pattern import Message as M

MESSAGES = (
    M("step_tokens", ("max_num_batched_tokens=",), r"max_num_batched_tokens=<tokens:int>"),
    M("hybrid_disabled", ("liding_window", "liding window"), r"sliding[_ ]window.{0,60}ignored"),
    M("descriptors", ("escriptors",), r"descriptors (?P<count>[0-9]{2,3},[0-9]{3}|[0-9]{5,8})\b"),
    M(
        "startup_free",
        ("Available memory on node",),
        r"Available memory on node \S+ \(<free:gib>/<total:gib> GiB\) on (?:startup|kv cache allocation) is less than (?:desired CPU memory utilization|requested memory for kv) \((?:<util:num>, )?<wanted:gib>",
    ),
    M("slept", ("Sleep mode freed",), r"Sleep mode freed <freed:size> memory, <used:size> memory is still in use"),
    M(
        "descriptors",
        ("escriptors", " descs"),
        r"(?P<least>[0-9]{2,3},[0-9]{3}|[0-9]{5,8})(?: ?(?:-|to|–) ?<number:int>)? (?:\w+ ){0,2}desc(?:riptor)?s\b",
    ),
    M(
        "sparse_pages",
        ("per page", "pages of"),
        r"[0-9.]{1,12} of [0-9]{1,12} blocks (?:live|used|occupied)|blocks (?:live|used|occupied) per page",
    ),
    M(
        "profiled",
        ("Memory profiling results",),
        r"total_gpu_memory=<total:size> initial_memory_usage=<initial:size>(?:.{0,160}?non_torch_memory=<non_torch:size>)?(?:.{0,60}?kv_cache_size=<kv:size>)?",
    ),
    # The start
    M("start", ("API server version",), r"vLLM API server version <version:word>"),
    M("start", ("LLM engine (v",), r"Initializing an? (?:V1 )?LLM engine \(v<version:word>\)"),
    M("arguments", ("args: Namespace", "non-default args"), r"(?:args: Namespace|non-default args:)"),
    M(
        "transformers_fallback",
        ("ransformers",),
        r"(?:no vLLM implementation|falling back to Transformers|TransformersForCausalLM)",
    ),
    M(
        "model_loaded",
        ("Model loading took", "model weights took"),
        r"(?:Model loading took|Loading model weights took) <weights:size>",
    ),
    M(
        "model_loaded",
        ("model weights took", "Model loading took"),
        r"(?:Model loading took|Loading model weights took) <weights:gib> (?:memory|and|GiB|GB)",
    ),
    M(
        "profiled",
        ("model weights take",),
        r"model weights take <weights:size>; non_torch_memory takes <non_torch:size>; PyTorch activation peak memory takes <activation:size>; the rest of the memory reserved for KV Cache is <kv:size>",
    ),
    M(
        "profiled",
        ("Actual usage is",),
        r"Actual usage is <weights:gib> GiB for (?:weight|consumed memory)[^,]*, <activation:gib> GiB for peak activation, (?:<non_torch:gib> GiB for non-torch memory, )?(?:and )?<graphs:gib> GiB for CUDAGraph memory",
    ),
    M("kv_available", ("Available KV cache memory",), r"Available KV cache memory: <kv:size>"),
    M("kv_size", ("KV cache size",), r"KV cache size: <tokens:int> tokens(?:, \w+ .{0,20}concurrency.{0,60})?"),
    M("kv_size", ("GPU blocks:",), r"# (?:GPU|cuda) blocks: <blocks:int>"),
    M("concurrency", ("aximum concurrency",), r"Maximum concurrency for <length:int> tokens per request: <times:num>x"),
    M("graphs_took", ("Graph capturing finished",), r"Graph capturing finished in .{1,20}?(?:, took <graphs:size>|$)"),
    M("graphs_estimated", ("CUDA graph",), r"Estimated CUDA graph memory: <graphs:size> total"),
    M(
        "graphs_actual",
        ("CUDA graph pool memory",),
        r"CUDA graph pool memory: <graphs:gib> GiB \(actual\), <estimated:gib> GiB \(estimated\)",
    ),
    M(
        "graphs_capturing",
        ("apturing ", "apture cuda graph"),
        r"(?:Capturing (?:CUDA|cudagraph)|Capture cuda graph begin|Capturing the model for CUDA graphs)",
    ),
    M(
        "ready",
        ("startup complete", "Uvicorn running on", "fired up and ready", "Processed prompts"),
        r"(?:Application startup complete|Uvicorn running on|fired up and ready to roll|Processed prompts:)",
    ),
    # Memory at the start
    M(
        "startup_free",
        ("Free memory on device",),
        r"Free memory on device\s?\S* ?\(<free:gib>/<total:gib> GiB\) on startup is less than .{0,60}?(?:\(<util:num>, <wanted:gib> GiB\))",
    ),
    M(
        "kv_context",
        ("max seq len",),
        r"max seq len \(<length:int>\) is larger than the maximum number of tokens that can be stored in (?:the )?KV cache \(<tokens:int>\)",
    ),
    M(
        "kv_context",
        ("To serve at least one request",),
        r"max seq len \(<length:int>\),? \(?<need:gib> GiB (?:KV|kv) cache is needed, which is larger than the available KV cache memory \(<have:gib> GiB\)(?:.{0,12}?Based on the available memory,? the estimated maximum model length is <fits:int>)?",
    ),
    M(
        "kv_context",
        ("larger than the available KV",),
        r"<need:gib> GiB (?:KV|kv) cache is needed, which is larger than the available KV cache memory \(<have:gib> GiB\)",
    ),
    M("kv_none", ("cache blocks", "KV cache blocks"), r"No available memory for the (?:KV )?cache blocks"),
    M(
        "prompt_over_pool",
        ("exceeds the capacity of block_manager",),
        r"(?:Input prompt|prompt) \(<tokens:int> tokens\) is too long and exceeds the capacity of block_manager",
    ),
    M(
        "profile_disturbed",
        ("Error in memory profiling",),
        r"Error in memory profiling.{0,60}Initial free memory <before:num>.{0,40}current free memory <after:num>",
    ),
    M("profile_disturbed", ("Error in memory profiling",), r"Error in memory profiling"),
    M("profile_disturbed", ("grew by",), r"Free memory grew by <grew:gib> GiB during profiling"),
    M(
        "sampler_warmup",
        ("warming up sampler", "warming up pooler"),
        r"out of memory occurred when warming up (?:sampler|pooler) with <requests:int> dummy",
    ),
    M(
        "graph_estimate_hint",
        ("ESTIMATE_CUDAGRAPHS",),
        r"(?:persist|try setting).{0,60}VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS ?= ?0",
    ),
    M(
        "workspace_locked",
        ("Workspace is locked",),
        r"Workspace is locked but allocation from '?<where:word>'? requires <asked:size>, current size is <size:size>",
    ),
    M(
        "workspace_locked",
        ("Workspace growth is not allowed", "Workspace is locked"),
        r"Workspace (?:growth is not allowed|is locked but)",
    ),
    M("swap_space", ("swap space",), r"[Tt]oo large swap space"),
    M(
        "hybrid_padding",
        ("padding layers",),
        r"Add <layers:int> padding layers, may waste at most <percent:num>% KV cache memory",
    ),
    M(
        "hybrid_disabled",
        ("Hybrid KV cache manager", "hybrid kv cache manager", "hybrid KV cache manager"),
        r"(?:Hybrid KV cache manager is disabled|Disabling hybrid KV cache manager|Turning off hybrid kv cache manager)",
    ),
    M("mamba_padding", ("mamba page size",), r"Padding mamba page size by <percent:num>%"),
    M("mamba_block", ("attention block size",), r"Setting attention block size to <tokens:int> tokens"),
    # While it serves
    M(
        "preempted",
        ("preempted by PreemptionMode",),
        r"preempted by PreemptionMode\.\w+ mode(?:.{0,300}total_num_cumulative_preemption=<total:int>)?",
    ),
    M("preempted", ("reempt",), r"(?:Preempting request|Request \S+ (?:was|is|has been) preempted)"),
    M(
        "shm_broadcast",
        ("shared memory broadcast block",),
        r"No available shared memory broadcast block found in <seconds:num> ?s",
    ),
    M("rpc_timeout", ("RPC call to", "timed out"), r"RPC call to \w+ timed out"),
    M(
        "heartbeat_lost",
        ("eartbeat", "MQLLMEngine", "RPCServer"),
        r"(?:didn.t hear|heartbeat.{0,40}(?:lost|missed|timed? ?out|not received)|No heartbeat)",
    ),
    M(
        "core_waiting",
        ("remote core engine", "local core engine", "engine cores ready", "core engine proc"),
        r"Waiting for <local:int> local,? <remote:int> remote core engine proc",
    ),
    M(
        "worker_died",
        ("Worker proc", "worker proc", "died unexpectedly", "exited unexpectedly"),
        r"(?:Worker proc(?:ess)? \S+ died|died unexpectedly|engine core exited unexpectedly|VllmWorkerProcess.{0,40}(?:died|exit))",
    ),
    M(
        "engine_dead",
        ("EngineDeadError", "EngineCore failed", "Engine core initialization failed", "AsyncEngineDeadError"),
        r"(?:EngineDeadError|EngineCore (?:encountered|failed)|Engine core initialization failed|background loop has errored)",
    ),
    # Transfer of KV between servers
    M(
        "kv_expired",
        ("xpired",),
        r"(?:(?:Releasing|Freeing|Released) expired KV blocks|Potentially invalid KV blocks .{0,160}expired)",
    ),
    M("kv_pull_failed", ("pull",), r"(?:pulling kv_caches .{0,80}failed|failed to pull)"),
    M("kv_remote_waiting", ("WAITING_FOR_REMOTE_KV", "waiting_for_remote_kv"), r"WAITING_FOR_REMOTE_KVS?"),
    M(
        "kv_transfer_failed",
        ("ransfer", "KVTransferError"),
        r"(?:KVTransferError|KV (?:cache )?transfer(?: \S+)? (?:failed|timed out|timeout)|NIXL transfer (?:failed|setup failed)|transfer failed.{0,60}(?:blocks|request)|Failed to (?:get|recv|receive|send).{0,20}\bKV)",
    ),
    M("kv_deferred", ("skipped_waiting", "Deferred"), r"num_skipped_waiting_reqs.{0,40}(?:grow|increas|rising|climb)"),
)
