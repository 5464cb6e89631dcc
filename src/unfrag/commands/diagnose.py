"""Say what is wrong with a server's memory, with bytes that add up. Reads only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from unfrag.diagnosis import Diagnosis
    from unfrag.facts import Snapshot

NAME = "diagnose"
EXAMPLES = """\
  unfrag diagnose
  unfrag diagnose --url http://127.0.0.1:8000 --log /root/workspace/glm_vllm.log
  unfrag diagnose --config /etc/supervisor/conf.d/glm47flash.conf --program glm_vllm
  unfrag diagnose --evidence ./incident-42 --json
  unfrag diagnose --evidence incident-42.unfrag.tar.gz
"""


def prepare_target(parser: argparse.ArgumentParser) -> None:
    """What to look at: a live server, or pasted evidence."""
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the server (default: %(default)s)")
    parser.add_argument("--log", type=Path, help="its log file: plain, gzip, zstd or UTF-16; - reads stdin")
    parser.add_argument("--config", type=Path, help="the supervisor file that starts it")
    parser.add_argument("--program", default="glm_vllm", help="the program in that file (default: %(default)s)")
    parser.add_argument("--evidence", type=Path, metavar="PATH", help="a folder of pasted evidence, or a capture")
    parser.add_argument("--allocator-snapshot", type=Path, metavar="FILE", help="of torch.cuda.memory._snapshot()")
    parser.add_argument("--cards", type=int, metavar="N", help="how many cards this server is meant to see")


def prepare(parser: argparse.ArgumentParser) -> None:
    prepare_target(parser)
    parser.add_argument("--thresholds", type=Path, help="TOML with own thresholds")
    parser.add_argument("--fail-on", choices=("info", "warning", "critical", "never"), default="critical")
    parser.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    from unfrag import diagnosis, rules
    from unfrag.errors import NotEnoughEvidence
    from unfrag.reports import out, print_json
    from unfrag.reports.diagnosis import render

    thresholds = rules.load_thresholds(args.thresholds)
    snapshot = snapshot_of(args)
    found = diagnosis.diagnose(snapshot, thresholds)
    if args.json:
        print_json(found)
    else:
        render(found, out())
    if not diagnosis.has_evidence(snapshot):
        hint = "add health.json or log.txt" if args.evidence else "is the server up? Give --log or --evidence too"
        raise NotEnoughEvidence(f"nothing to judge by at {snapshot.target}; {hint}")
    if found.verdict == "unknown":
        if not args.evidence and not found.findings:
            raise NotEnoughEvidence(f"{args.url} cannot be asked: {_why(snapshot)}; is it up, and is that its port?")
        raise NotEnoughEvidence(
            f"{snapshot.target}: what is known does not say whether it is healthy; add health.json or the whole log.txt"
        )
    return _exit_code(found, args.fail_on)


def snapshot_of(args: argparse.Namespace) -> Snapshot:
    """Collect what the arguments point at."""
    from unfrag import capture, collect
    from unfrag.errors import UsageError
    from unfrag.launchers.supervisor import SupervisorProgram

    if args.evidence:
        beside = [name for name in ("log", "config", "allocator_snapshot") if getattr(args, name)]
        if beside:
            raise UsageError(
                f"--{beside[0].replace('_', '-')} goes with a live server; put the file into --evidence's folder"
            )
        if args.evidence.is_dir():
            return collect.evidence(args.evidence)
        if not args.evidence.is_file():
            raise UsageError(f"--evidence {args.evidence}: no such folder or capture")
        return capture.read(args.evidence)
    if args.log == Path("-"):
        from unfrag.probes.log.stdin import spooled

        args.log = spooled()
    for name in ("log", "allocator_snapshot"):
        path = getattr(args, name)
        if path and not path.exists():
            raise UsageError(f"--{name.replace('_', '-')} {path}: no such file")
    if args.config:
        SupervisorProgram(args.config, args.program).read()
    asked = collect.Asked(args.url, args.log, args.config, args.program, args.allocator_snapshot, args.cards)
    return collect.live(asked)


def _why(snapshot: Snapshot) -> str:
    from unfrag.facts import Unknown

    return next((fact.why for fact in (snapshot.pool, snapshot.metrics) if isinstance(fact, Unknown)), "no answer")


def _exit_code(found: Diagnosis, fail_on: str) -> int:
    from unfrag.rules import SEVERITIES

    if fail_on == "never":
        return 0
    bad = SEVERITIES[SEVERITIES.index(fail_on) :]
    return 1 if any(finding.severity in bad for finding in found.findings) else 0
