"""The kernel, containers, supervisors, and faults that have nothing to do with memory."""

from __future__ import annotations

from unfrag.doctor.probes.log.pattern import Message as M

MESSAGES = (
    M(
        "nobody_runs",
        ("nvidia_uvm", "stopped an hour", "old server"),
        r"(?:uvm_spin_loop|uvm_tracker_wait|\[nvidia_uvm\]|old server, stopped)",
    ),
    M(
        "slice_limit",
        ("CUDA_DEVICE_MEMORY_LIMIT", "gpumem"),
        r"(?:CUDA_DEVICE_MEMORY_LIMIT(?:_[0-9])?[=:] ?|gpumem: ?)<limit:int>m?\b",
    ),
    M("cuda_invalid_argument", ("invalid argument",), r"CUDA error: invalid argument"),
    M("other_error", ("Error", "Exception"), r"^\s*(?:[\w.]+\.)?(?P<name>[A-Z]\w*(?:Error|Exception))\b[:(]"),
    M("no_memory_fault", ("no OOM", "No OOM", "not OOM", "没有 OOM"), r"\b(?:no|not) OOM\b|没有 OOM"),
    # Host memory
    M(
        "oom_killer",
        (
            "oom-killer",
            "Killed process",
            "oom-kill:",
            "Out of memory: Kill",
            "oom_reaper",
            "Memory cgroup out of memory",
        ),
        r"(?:invoked oom-killer|(?:Memory cgroup out of memory|Out of memory): Kill(?:ed)? process <pid:int>(?: \(<name:text>\))?(?:.{0,80}anon-rss:<rss:int>kB)?|oom-kill:constraint=<constraint:word>|oom_reaper: reaped)",
    ),
    M(
        "oom_killed",
        ("OOMKilled", "OOM killed", "oom_kill", "oom-kill'"),
        r"(?:OOMKilled(?!\W{1,4}false)|OOM killed|oom_kill(?:_process)? [1-9]|result 'oom-kill')",
    ),
    M(
        "exit_137",
        ("code 137", "code: 137", "status 137", "Code:", "code=137", "status: 137"),
        r"(?:exit(?:ed with)? (?:code|status):? 137|Exit Code: *137|code=137)",
    ),
    M(
        "sigkill",
        ("SIGKILL", "signal 9", "exit code -9", "exitcode: -9", "exitcode=-9", "Killed"),
        r"(?:terminated by SIGKILL|signal 9|exit ?code:? ?[-=]?-9|\(SIGKILL\)|SIGKILL|^\s*(?:\S+: line \d+: +\d+ )?Killed\b)",
    ),
    M(
        "ray_oom",
        (
            "memory pressure",
            "ray.exceptions.OutOfMemoryError",
            "running low on memory",
            "memory monitor",
            "Memory on the node",
        ),
        r"(?:ray\.exceptions\.OutOfMemoryError|due to memory pressure \(OOM\)|killed due to memory pressure|node running low on memory|Memory on the node .{0,200}(?:exceed|threshold))",
    ),
    M(
        "host_alloc",
        (
            "annot allocate memory",
            "bad_alloc",
            "MemoryError",
            "Errno 12",
            "cudaHostAlloc",
            "cudaErrorHostMemory",
            "Unable to allocate",
        ),
        r"(?:\[Errno 12\]|std::bad_alloc|(?<!OutOf)(?<!OutOfMemory)\bMemoryError\b|numpy\S{0,60}MemoryError|cudaHostAlloc.{0,40}(?:fail|out of memory)|Unable to allocate <asked:size> for an array|(?<!ibv)(?:os\.fork|fork|mmap|malloc).{0,30}Cannot allocate memory)",
    ),
    M(
        "shm_leaked",
        ("leaked s", "leaked shared_memory"),
        r"appear to be <count:int> leaked (?:shared_memory|semaphore) objects",
    ),
    # Shared memory
    M(
        "shm_full",
        ("No space left on device", "Errno 28"),
        r"No space left on device.{0,120}(?:/dev/shm|/psm_|/torch_\d|/sem\.|/nccl-)|(?:/dev/shm|/psm_|/sem\.|nccl-shm)\S{0,80}.{0,60}No space left on device",
    ),
    M("disk_full", ("No space left on device", "Errno 28"), r"No space left on device"),
    M("bus_error", ("Bus error", "SIGBUS", "bus error"), r"(?:Bus error|SIGBUS)"),
    M("shm_df", ("/dev/shm",), r"^shm\s+<total:word>\s+<used:word>\s+<free:word>\s+<percent:int>%\s+/dev/shm"),
    # Isolation
    M(
        "nobody_runs",
        ("empty", "No running processes", "kill", "defunct", "zombie", "orphan", "nothing", "killed", "进程"),
        r"(?:(?:grep|ps|pgrep) .{0,40}(?:->|→|=>|:)\s*\(?(?:empty|nothing|none)|No running processes found|没有.{0,8}进程|kill.{0,16}(?:还是|仍|依然|没有释放).{0,6}(?:占用|显存)?|<defunct>|zombie|orphan(?:ed)? (?:process|worker))",
    ),
    M("cgroup_all", ("*:*", "rivileged"), r"(?:^\s*a \*:\* rwm|devices\.list.{0,80}a \*:\* rwm)"),
    M("visible_all", ("NVIDIA_VISIBLE_DEVICES",), r"NVIDIA_VISIBLE_DEVICES[=: ]+[\"']?all\b"),
    M(
        "container_devices",
        (
            "NVIDIA_VISIBLE_DEVICES",
            "nvidia-container-cli",
            "/dev/nvidia",
            "could not select device driver",
            "devices.allow",
            "cgroup",
        ),
        r"(?:nvidia-container-cli: .{0,80}error|could not select device driver|/dev/nvidia\S*.{0,40}(?:[Nn]o such|[Pp]ermission denied|not permitted)|(?:open|failed to open).{0,20}/dev/nvidia)",
    ),
    # Not memory at all
    M("port_in_use", ("ddress already in use", "Errno 98"), r"(?:\[Errno 98\]|[Aa]ddress already in use)"),
    M(
        "hub",
        (
            "huggingface",
            "Hub",
            "gated repo",
            "401 Client Error",
            "Repository Not Found",
            "couldn't connect",
            "valid model identifier",
        ),
        r"(?:Cannot access gated repo|401 Client Error|403 (?:Client Error|Forbidden).{0,60}huggingface|Repository Not Found|couldn't connect to .{0,60}huggingface|[Cc]an't load (?:the )?(?:configuration|tokenizer)|is not a (?:local folder and is not a )?valid model identifier|LocalEntryNotFoundError|Hub is not reachable)",
    ),
    M(
        "file_missing",
        (
            "No such file or directory",
            "FileNotFoundError",
            "incomplete metadata",
            "header too large",
            "MetadataIncompleteBuffer",
            "InvalidHeaderDeserialization",
        ),
        r"(?:FileNotFoundError|Error while deserializing header|MetadataIncompleteBuffer|InvalidHeaderDeserialization|incomplete metadata)",
    ),
    M("permission", ("ermission denied", "PermissionError"), r"(?:PermissionError|[Pp]ermission denied)"),
    M(
        "xid",
        ("Xid", "fallen off the bus", "uncorrectable ECC", "Uncorrectable ECC", "ECC error"),
        r"(?:NVRM: Xid .{0,40}?: <xid:int>|fallen off the bus|[Uu]ncorrectable ECC)",
    ),
    M(
        "prompt_too_long",
        ("maximum context length", "longer than the maximum model length", "maximum model length"),
        r"(?:maximum context length is|longer than the maximum model length)",
    ),
    M(
        "template",
        ("chat template", "TemplateError", "jinja2"),
        r"(?:chat template.{0,60}(?:not|no longer|must|missing)|TemplateError|UndefinedError)",
    ),
    M(
        "limits",
        (
            "Too many open files",
            "Errno 24",
            "Resource temporarily unavailable",
            "can't start new thread",
            "RLIMIT",
            "memlock",
        ),
        r"(?:(?<!24\]\x20)Too many open files|\[Errno 24\] Too many open files(?!`)|can't start new thread|pthread_create failed|RLIMIT_NPROC|memlock|Resource temporarily unavailable)",
    ),
    M(
        "compiler",
        ("Failed to find C compiler", "gcc", "nvcc", "ninja", "CalledProcessError"),
        r"(?:Failed to find C compiler|(?:gcc|nvcc|ninja|cc1plus).{0,60}(?:not found|failed|returned non-zero)|CalledProcessError)",
    ),
    M("segfault", ("Segmentation fault", "SIGSEGV"), r"(?:Segmentation fault|SIGSEGV)"),
)
