"""NCCL and PyTorch's process groups."""

from __future__ import annotations

from unfrag.doctor.probes.log.pattern import Message as M

MESSAGES = (
    M(
        "nccl_timeout",
        (
            "atchdog caught",
            "ollective operation timeout",
            "ollNCCL",
            "NCCL timeout",
            "heartbeat monitor",
            "Heartbeat monitor",
            "Timeout(ms)",
            "DistStoreError",
            "TCPStore",
            "Wait timeout",
        ),
        r"(?:Watchdog caught collective operation timeout|collective operation timeout|ran for <ms:int> milliseconds before timing out|NCCL (?:\w+ )?time(?:d )?out|ProcessGroupNCCL.{0,60}(?:heartbeat|timed? ?out)|[Hh]eartbeat monitor timed out|DistStoreError.{0,80}[Tt]imed out|TCPStore.{0,60}(?:timeout|timed out)|wait timeout after <wait:int> ?ms)",
    ),
    M(
        "nccl_init",
        ("Init COMPLETE", "is using nccl==", "NCCL INFO"),
        r"(?:ncclCommInitRank\w{0,40} .{0,160}Init COMPLETE|comm \S{0,60} ?rank .{0,200}Init COMPLETE|Connected all (?:rings|trees)|NCCL INFO Channel|is using nccl==)",
    ),
    M(
        "nccl_shm",
        ("creating shared memory segment", "/dev/shm/nccl", "shared memory segment"),
        r"(?:Error while (?:creating|attaching to) shared memory segment|/dev/shm/nccl-\S+.{0,60}(?:size|fail|No space))(?:.{0,60}\(size <bytes:int>\))?",
    ),
    M(
        "nccl_error",
        (
            "NCCL error",
            "NcclError",
            "ncclSystemError",
            "ncclUnhandledCudaError",
            "ncclInternalError",
            "ncclRemoteError",
            "NCCL_ERROR",
        ),
        r"(?:NCCL error|NcclError|ncclSystemError|ncclUnhandledCudaError|ncclInternalError|ncclRemoteError|NCCL_ERROR_\w+)",
    ),
    M(
        "nccl_net",
        ("socketStartConnect", "Bootstrap", "NET/IB", "NET/Socket", "net.cc", "misc/socket"),
        r"(?:socketStartConnect.{0,60}failed|NCCL WARN .{0,40}(?:Connect to|Bootstrap|Call to connect).{0,80}(?:failed|refused|timed)|NET/IB ?: ?Got completion.{0,160}(?:error|status=[1-9])|Got async event ?: port error|NET/\w+ .{0,60}(?:retry|timeout).{0,40}exceed)",
    ),
    M("rdma", ("ibv_", "NET/IB"), r"(?:ibv_reg\w+|ibv_\w+ failed|Call to ibv_\w+ failed)"),
    M(
        "gloo",
        ("gloo", "Gloo"),
        r"(?:[Gg]loo.{0,80}(?:connect(?!ed to)|timed? ?out|failed)|connectFullMesh failed|Connection closed by peer)",
    ),
    M(
        "allreduce_ipc",
        ("ustom_all_reduce", "cudaIpc"),
        r"(?:custom_all_reduce\S* ?'invalid argument'|cudaIpcGetMemHandle.{0,60}(?:invalid|fail))",
    ),
    M(
        "custom_allreduce",
        ("ustom_all_reduce", "custom allreduce", "ustom all-reduce"),
        r"custom[_ ]all-?reduce.{0,60}(?:hang|stuck|fail)",
    ),
)
