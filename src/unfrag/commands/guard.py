"""Watch servers and keep them healthy: flush, drain, restart, or tell a human, and write down why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unfrag.commands.numbers import seconds
from unfrag.commands.target import PLACES, URL, add_place, place
from unfrag.commands.thresholds import add_thresholds

if TYPE_CHECKING:
    import argparse

    from unfrag.guard.audit import Audit
    from unfrag.guard.policy import Policy
    from unfrag.guard.service import WatchedServer
    from unfrag.guard.targets import Target

NAME = "guard"
LOG = Path("/var/log/gpu_monitor.log")
_NAMES = ("targets", "dns", *PLACES)
EXAMPLES = """\
  unfrag guard --config /etc/supervisor/conf.d/glm47flash.conf --dry-run --once
  unfrag guard --config /etc/supervisor/conf.d/glm47flash.conf
  unfrag guard --targets servers.json --webhook https://chat.example/hook
  unfrag guard test-page --webhook https://chat.example/hook
  unfrag guard status
  unfrag guard install --systemd --config /etc/supervisor/conf.d/glm47flash.conf
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "verb",
        nargs="?",
        metavar="WHAT",
        choices=("run", "status", "install", "test-page"),
        default="run",
        help="run, which is the default; status of guards that run; install one; test-page tells everybody once",
    )
    parser.add_argument("--url", metavar="URL", help=f"the server (default: {URL}; for status: all)")
    add_place(parser, required=False)  # without one it is watched and flushed, and nobody restarts it
    parser.add_argument(
        "--targets", type=Path, metavar="FILE", help="many servers: a JSON list, or Prometheus' file service discovery"
    )
    parser.add_argument("--dns", metavar="NAME:PORT", help="a server at every address of this name")
    parser.add_argument(
        "--policy", metavar="FILE", help="a TOML file with other thresholds (docs/guard.md), or: article, for its rules"
    )
    add_thresholds(parser)
    parser.add_argument("--interval", type=seconds, metavar="SECONDS", help="seconds between two polls (default: 5)")
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help=f"the audit file, in a folder that is there (default: {LOG})"
    )
    parser.add_argument("--webhook", metavar="URL", help="told of every action, and when a human is needed")
    parser.add_argument("--metrics-port", type=int, metavar="PORT", help="serve the guard's own metrics on 127.0.0.1")
    parser.add_argument("--memory-limit", metavar="SIZE", help="host memory of a rank without a card, such as 12GiB")
    parser.add_argument("--once", action="store_true", help="one poll, then end")
    parser.add_argument("--dry-run", action="store_true", help="decide and write down, do nothing")
    parser.add_argument("--json", action="store_true", help="every audit line on stdout as well")
    where = parser.add_mutually_exclusive_group()
    for manager in ("systemd", "supervisor", "cron"):
        where.add_argument(
            f"--{manager}", dest="manager", action="store_const", const=manager, help=f"install: for {manager}"
        )


def run(args: argparse.Namespace) -> int:
    if args.webhook is not None:
        from unfrag.guard.webhook import must_be_an_address

        must_be_an_address(args.webhook)
    if args.verb == "status":
        from unfrag.guard.status import status

        return status(_folder(), _asked(args), args.json)
    if args.verb == "test-page":
        return _test_page(args)
    if args.verb == "install":
        from unfrag.guard.install import install

        return install(args, _policy(args), targets(args), _log(args))
    return _guard(args)


def _policy(args: argparse.Namespace) -> Policy:
    from unfrag.guard import policy_file

    return policy_file.read(args.policy, args.interval)


def _folder() -> Path:
    from unfrag.system.paths import state_dir

    return state_dir() / "guard"


def _guard(args: argparse.Namespace) -> int:
    import signal
    import sys
    import threading

    from unfrag.doctor.rules.thresholds import load_thresholds
    from unfrag.errors import UsageError
    from unfrag.guard import service
    from unfrag.guard.audit import Audit
    from unfrag.guard.fleet import Fleet
    from unfrag.guard.metrics import serve
    from unfrag.guard.tell import Telling
    from unfrag.guard.webhook import Webhook

    policy, thresholds = _policy(args), load_thresholds(args.thresholds)
    audit = Audit(_log(args), echo=args.json)
    webhook = Webhook(args.webhook, _folder() / "webhook") if args.webhook else None
    tell = Telling(webhook, sys.stderr if args.json else sys.stdout)

    def watch(target: Target) -> service.WatchedServer:
        return service.WatchedServer(
            target, target.launcher(), policy, _folder(), audit, tell, args.dry_run, thresholds=thresholds
        )

    try:
        fleet = Fleet(lambda: targets(args), watch, audit)
    except OSError as fault:
        raise UsageError(
            f"{_folder()} cannot be written: {fault.strerror}; set UNFRAG_STATE to another place"
        ) from fault
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if args.metrics_port is not None:
        serve(args.metrics_port, fleet)
    if not args.once:
        for line in _first_words(args, policy, audit, fleet.watched):
            tell.say(line)
    service.run(fleet, policy.interval, stop, rounds=1 if args.once else None)
    if args.once:
        _show(fleet.watched, args)
    return 0


def _show(watched: list[WatchedServer], args: argparse.Namespace) -> None:
    from unfrag.guard.once import line
    from unfrag.reports import err, out

    for one in watched:
        (err() if args.json else out()).print(line(one, args.dry_run), markup=False)


def _first_words(args: argparse.Namespace, policy: Policy, audit: Audit, watched: list[WatchedServer]) -> list[str]:
    from unfrag.guard import system_log
    from unfrag.guard.ways import ways
    from unfrag.guard.words import dry_words, first_words, who_is_told

    labels = [one.target.label for one in watched]
    log, log_fault = _log(args), audit.tried("guard", "started", targets=labels, dry_run=args.dry_run)
    lines = first_words(watched, policy, log, log_fault)
    if args.dry_run:
        return lines + dry_words(log, log_fault)
    found = ways(log, log_fault, system_log.fault())
    return lines + who_is_told(found, args.webhook is not None, args.metrics_port is not None)


def _test_page(args: argparse.Namespace) -> int:
    from unfrag.guard.trial import trial

    trial(_log(args), args.log is not None, args.webhook, args.json)
    return 0


def _log(args: argparse.Namespace) -> Path:
    return LOG if args.log is None else Path(args.log)


def targets(args: argparse.Namespace) -> list[Target]:
    """What is to be watched. Raises UsageError."""
    import msgspec

    from unfrag.errors import UsageError

    found = _named(args)
    launcher = None if args.targets is not None or args.dns is not None else found[0].launcher()
    if launcher is None:
        return found
    spec = launcher.read()
    if not spec.url:
        raise UsageError(f"the port of {spec.program} is a variable, and it does not run: start it first")
    return [msgspec.structs.replace(found[0], url=spec.url, name=spec.program)]


def _asked(args: argparse.Namespace) -> list[Target]:
    """What ``status`` is to show; none: nothing was named."""
    return _named(args) if any(getattr(args, flag) is not None for flag in ("url", *_NAMES)) else []


def _named(args: argparse.Namespace) -> list[Target]:
    """As the command line names them; no launcher is asked. Raises UsageError."""
    import msgspec

    from unfrag.errors import UsageError
    from unfrag.guard.targets import Target, checked, from_dns, from_file
    from unfrag.units import read_size

    named = [flag for flag in _NAMES if getattr(args, flag) is not None]
    if len(named) > 1:
        raise UsageError(f"--{named[0]} and --{named[1]} both name servers; give one")
    if args.targets is not None:
        return from_file(args.targets)
    if args.dns is not None:
        return from_dns(args.dns)
    try:
        limit = read_size(args.memory_limit) if args.memory_limit else None
    except ValueError as fault:
        raise UsageError(f"--memory-limit: {fault}; give one such as 12GiB") from fault
    where = msgspec.structs.asdict(place(args))
    where |= {name: str(Path(where[name]).resolve()) for name in ("config", "compose") if where[name]}
    return [checked(Target(url=URL if args.url is None else args.url, memory_limit=limit, **where))]
