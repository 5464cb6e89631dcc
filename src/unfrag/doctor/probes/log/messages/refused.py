"""What a start is refused for: flags, versions, hardware, quantisation, allocator settings, workspaces."""

from __future__ import annotations

from unfrag.doctor.probes.log.pattern import Message as M

MESSAGES = (
    M(
        "quantization_mismatch",
        ("KeyError",),
        r"KeyError: '[^']*(?:qweight|qzeros|scales|weight_scale|g_idx|weight_packed)[^']*'",
    ),
    M("workspace_locked", ("workspace buffer size",), r"Increase the workspace buffer size"),
    M(
        "over_budget",
        ("exceeds limit of",),
        r"prompt \(<tokens:int> tokens\) is too long and exceeds limit of <limit:int>",
    ),
    # The command line
    M(
        "unknown_argument",
        ("unrecognized arguments", "nrecognized argument"),
        r"unrecognized arguments?: ?<flags:text>(?:$|\n)",
    ),
    M(
        "invalid_argument",
        (
            "error: argument",
            "invalid choice",
            "ambiguous option",
            "expected one argument",
            "No such option",
            "no such option",
            "one of the arguments",
            "VLLM_USE_V1=1",
            "NotImplementedError",
        ),
        r"(?:error: argument <flag:word>:? ?<why:text>$|ambiguous option: <flag2:word>|[Nn]o such option:? <flag3:word>|invalid choice: <choice:text>\(|VLLM_USE_V1=1 is not supported with <flag4:word>|NotImplementedError: .{0,80}(?P<flag5>--[a-z][a-z-]+))",
    ),
    M(
        "unexpected_keyword",
        ("unexpected keyword argument",),
        r"(?P<call>[\w.]{1,120})\(\) got an unexpected keyword argument '?<flag:word>'?",
    ),
    M("config_rejected", ("validation error for",), r"<count:int> validation errors? for <config:word>"),
    M("flag_rejected", ("xtra inputs are not permitted", "nvalid value for"), r"Extra inputs are not permitted"),
    # Version, entry point, model support
    M(
        "no_module",
        (
            "No module named",
            "cannot import name",
            "has no attribute",
            "undefined symbol",
            "does not exist",
            "console_scripts",
        ),
        r"(?:No module named '?<module:word>'?|cannot import name '?<name:word>'?|undefined symbol: <symbol:word>|operator \S+ does not exist|module '[\w.]+' has no attribute '\w+')",
    ),
    M(
        "architecture_unknown",
        ("rchitecture",),
        r"(?:Model architectures? .{1,80}?(?:are|is) not supported|does not recognize this architecture|architectures? \[?'?\w+'?\]? (?:are|is) not supported|has no vLLM implementation and)",
    ),
    M(
        "model_code_mismatch",
        ("rope_scaling", "KeyError", "no attribute", "Unrecognized configuration class", "Unrecognized model"),
        r"(?:rope_scaling.{0,40}must|KeyError: '(?:model\.)?(?:layers?|transformer|type|language_model|mlp|visual)\S*'|'\w*Config' object has no attribute '\w+'|Unrecognized (?:configuration class|model in))",
    ),
    M(
        "route_missing",
        ("404 Not Found",),
        r"\"(?:POST|GET) /(?:v1/\S*|generate\S*|health|flush_cache) HTTP/1\.\d\" 404",
    ),
    M(
        "version_conflict",
        ("requires", "incompatible", "version"),
        r"(?:ImportError: .{0,80}(?:requires|version)|requires (?:transformers|torch|vllm|flash[_-]attn|triton|numpy|flashinfer)\s?[><=]+|is incompatible with the current|The installed version of \S+|NVIDIA driver on your system is too old|CUDA driver version is insufficient|VersionConflict|was compiled (?:with|against|using) .{0,60}(?:but|incompatible|different))",
    ),
    # Hardware and kernels
    M(
        "capability",
        ("apability", "supported on", "not supported in this"),
        r"(?:type fp8\w+ not supported in this|Minimum capability: <needs:int>|(?:[Bb]float16|bf16|FP8|fp8|[Ff]p4|NVFP4|MXFP4)\S* (?:\w+ ){0,4}(?:is|are) only supported on|only supported on GPUs with compute capability|requires? (?:a )?(?:compute )?capability|not supported (?:for|on) the current GPU|only supports Ampere|compute capability (?:of )?(?:at least|>=|above|below|lower than|higher than) ?<wants:num>)",
    ),
    M(
        "kernel_image",
        ("no kernel image", "not compatible with the current PyTorch", "unsupported toolchain", "PTX", "sm_"),
        r"(?:no kernel image is available|is not compatible with the current PyTorch installation|unsupported toolchain|ptxas fatal|PTX JIT compilation failed|Unsupported gpu architecture|sm_\d+\w? is not (?:supported|defined|a recognized)|not supported on (?:sm_?\d+|this (?:GPU|device|arch\w*)))",
    ),
    M(
        "on_chip_memory",
        ("out of resource", "OutOfResources", "shared memory, Required", "too many resources", "dynamic shared memory"),
        r"(?:out of resources?: (?:shared memory|tensor memory|threads), Required: <needs:int>, Hardware limit: <limit:int>|OutOfResources|too many resources requested for launch|(?:dynamic )?shared memory .{0,50}(?:exceeds|too large|larger than))",
    ),
    M(
        "no_backend",
        ("attention backend", "No valid", "head_size", "head size"),
        r"(?:No valid attention backend|[Hh]ead[_ ]size \d+ is not supported|not supported by (?:any )?(?:the )?(?:FlashAttention|attention|flashinfer|PagedAttention|\w+) ?(?:backend|kernel)|attention backend .{0,60}(?:not supported|does not support))",
    ),
    # Quantisation
    M(
        "quantization_mismatch",
        ("uantization", "uantized", "quant"),
        r"(?:Quantization method specified in the model config \(<config:word>\) does not match|Cannot find the config file for|[Uu]nknown quantization method|quantization method .{0,40}(?:does not match|is not (?:supported|compatible))|not aligned with the quantized weight shape|not divisible by .{0,60}(?:quantiz|group)|quant_method.{0,40}(?:mismatch|must be)|is not supported for quantization method|only supports? pre-?quantized|checkpoint is not quantized|already quantized)",
    ),
    M(
        "weight_shape",
        (
            "loaded_weight.shape",
            "shape mismatch",
            "size mismatch",
            "no module or parameter named",
            "ttempted to load weight",
        ),
        r"(?:param(?:_data|eter)?\.(?:shape|size\(\)) ?== ?loaded_weight\.(?:shape|size\(\))|Attempted to load weight|size mismatch for|no module or parameter named '?<name:word>)",
    ),
    # The allocator's settings
    M(
        "alloc_conf",
        ("xpandable", "PYTORCH_", "allocator", "Allocator", "max_split_size", "cudaMallocAsync"),
        r"(?:[Ee]xpandable[_ ]segments?.{0,100}?(?:not compatible|incompatible|not supported|unsupported|cannot be used|can't be used|conflict|must not|must be (?:disabled|unset|off)|are not allowed|invalidat|requires|please (?:unset|remove|disable))|(?:not compatible|incompatible|not supported|cannot be (?:used|combined)|conflicts?).{0,60}expandable[_ ]segments|Unrecognized (?:key|CachingAllocator option)|CachingAllocator(?:Config)?.{0,60}(?:invalid|unrecognized|too small|expected|error)|max_split_size too small|(?:cudaMallocAsync|PluggableAllocator|cumem).{0,120}(?:not (?:yet )?support|incompatible|cannot)|does not (?:yet )?support (?:shareable handles|checkPoolLiveAllocations|cudaMallocAsync))",
    ),
    # The weights' own
    M(
        "moe_workspace",
        ("workspace", "intermediate_cache", "DeepEP", "deep_ep", "nvshmem", "NVSHMEM", "num_rdma_bytes"),
        r"(?:(?:failed to|cannot|could not|unable to) (?:allocate|get|resize).{0,60}(?:workspace|intermediate_cache|DeepEP|nvshmem)|(?:moe|MoE|cutlass|grouped).{0,60}workspace.{0,80}(?:too small|insufficient|exceed|fail|out of memory)|workspace.{0,40}(?:insufficient|too small|overflow)|(?:nvshmem|NVSHMEM).{0,90}(?:out of memory|fail|symmetric heap)|num_max_dispatch_tokens|intermediate_cache\d|deep_?ep.{0,150}out of memory|Buffer\(.{0,40}num_rdma_bytes=<asked:int>)",
    ),
)
