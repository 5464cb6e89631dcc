"""Makes the guard start with the machine: one file for systemd, supervisor or cron, and the next command."""

from __future__ import annotations

import math
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from unfrag.errors import UsageError
from unfrag.flags.quote import for_supervisor, for_systemd
from unfrag.reports import err
from unfrag.system.files import write_atomically

if TYPE_CHECKING:
    import argparse

    from unfrag.guard.policy import Policy
    from unfrag.guard.targets import Target

_SYSTEMD = """\
[Unit]
Description=unfrag guard: keeps vLLM servers healthy
After=network-online.target supervisor.service
Wants=network-online.target
StartLimitIntervalSec=300
StartLimitBurst=5

[Service]
Type=notify
ExecStart={command}
Restart=on-failure
RestartSec=5
WatchdogSec={watchdog}
MemoryMax=256M

[Install]
WantedBy=multi-user.target
"""
_SUPERVISOR = """\
[program:unfrag_guard]
command={command}
autorestart=true
stopasgroup=true
stdout_logfile=/var/log/unfrag_guard.log
redirect_stderr=true
"""
_CRON = """\
# The nightly flush alone; no guard watches in between.
{minute} {hour} * * * root {flush} >> {log} 2>&1
"""
_FLAGS = ("targets", "dns", "policy", "thresholds", "interval", "log", "webhook", "metrics_port", "memory_limit")
_PLACES = {
    "systemd": (
        Path("/etc/systemd/system/unfrag-guard.service"),
        "systemctl daemon-reload && systemctl enable --now unfrag-guard",
    ),
    "supervisor": (Path("/etc/supervisor/conf.d/unfrag-guard.conf"), "supervisorctl reread && supervisorctl update"),
    "cron": (Path("/etc/cron.d/unfrag-nightly"), "cron reads it by itself"),
}


def install(args: argparse.Namespace, policy: Policy, watched: list[Target], log: Path) -> int:
    """Raises UsageError: no place was named, its file cannot be written, or the log's folder is not there."""
    if args.manager is None:
        raise UsageError("who shall start it? --systemd, --supervisor or --cron")
    if not os.path.isdir(log.absolute().parent):
        raise UsageError(f"--log {log}: there is no folder {log.absolute().parent}; make it first")
    path, then = _PLACES[args.manager]
    content = unit(args, policy, watched, log)
    if args.dry_run:
        sys.stdout.write(f"# {path}\n{content}")
        err().print(f"dry run: nothing was written. Then: {then}", markup=False)
        return 0
    if not path.parent.is_dir():
        raise UsageError(f"there is no {path.parent} here; --dry-run prints the file")
    write_atomically(path, content.encode(), private=args.manager != "cron")
    err().print(f"{path} is written. Now: {then}", markup=False)
    return 0


def unit(args: argparse.Namespace, policy: Policy, watched: list[Target], log: Path) -> str:
    """The file's content: this interpreter and the flags that were given, a webhook's token among them."""
    words = [sys.executable, "-m", "unfrag", "guard"]
    if args.targets is None and args.dns is None:  # then it is one server
        words += watched[0].words() or ["--url", watched[0].url]
    for flag in (
        "targets",
        "dns",
        "policy",
        "thresholds",
        "interval",
        "log",
        "webhook",
        "metrics_port",
        "memory_limit",
    ):
        value = getattr(args, flag)
        if flag == "policy" and value not in (None, "article"):
            value = Path(value)
        if value is not None:
            words += ["--" + flag.replace("_", "-"), str(value.resolve() if isinstance(value, Path) else value)]
    if args.manager == "cron":
        hour, minute = (policy.nightly or "02:00").split(":")
        flush = " ; ".join(shlex.join([sys.executable, "-m", "unfrag", "flush", "--url", one.url]) for one in watched)
        return _CRON.format(hour=int(hour), minute=int(minute), flush=flush, log=shlex.quote(str(log.absolute())))
    command = shlex.join(words)
    if args.manager == "supervisor":
        return _SUPERVISOR.format(command=for_supervisor(command))
    # It is fed once a round, and a round may hold a drain and a restart.
    watchdog = math.ceil(2 * policy.interval + policy.drain_seconds + 300)
    return _SYSTEMD.format(command=for_systemd(command), watchdog=watchdog)
