"""Say what is wrong with a server's memory, with bytes that add up. Reads only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from unfrag.diagnosis import Diagnosis

NAME = "diagnose"
EXAMPLES = """\
  unfrag diagnose
  unfrag diagnose --url http://127.0.0.1:8000 --log /root/workspace/glm_vllm.log
  unfrag diagnose --config /etc/supervisor/conf.d/glm47flash.conf --program glm_vllm
  unfrag diagnose --evidence ./incident-42 --json
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the server (default: %(default)s)")
    parser.add_argument("--log", type=Path, help="its log file")
    parser.add_argument("--config", type=Path, help="the supervisor file that starts it")
    parser.add_argument("--program", default="glm_vllm", help="the program in that file (default: %(default)s)")
    parser.add_argument("--evidence", type=Path, metavar="DIR", help="judge pasted evidence instead of a live server")
    parser.add_argument("--thresholds", type=Path, help="TOML with own thresholds")
    parser.add_argument("--fail-on", choices=("info", "warning", "critical", "never"), default="critical")
    parser.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    from unfrag import diagnosis, rules
    from unfrag.errors import NotEnoughEvidence, UsageError
    from unfrag.launchers.supervisor import SupervisorProgram
    from unfrag.reports import out, print_json
    from unfrag.reports.diagnosis import render

    thresholds = rules.load_thresholds(args.thresholds)
    if args.evidence:
        if not args.evidence.is_dir():
            raise UsageError(f"--evidence {args.evidence}: no such folder")
        snapshot = diagnosis.collect_evidence(args.evidence)
    else:
        if args.log and not args.log.exists():
            raise UsageError(f"--log {args.log}: no such file")
        if args.config:
            SupervisorProgram(args.config, args.program).read()
        snapshot = diagnosis.collect_live(args.url, args.log, args.config, args.program)
    found = diagnosis.diagnose(snapshot, thresholds)
    if args.json:
        print_json(found)
    else:
        render(found, out())
    if not diagnosis.has_evidence(snapshot):
        hint = "add health.json or log.txt" if args.evidence else "is the server up? Give --log or --evidence too"
        raise NotEnoughEvidence(f"nothing to judge by at {snapshot.target}; {hint}")
    if found.verdict == "unknown":
        raise NotEnoughEvidence(
            f"{snapshot.target}: an allocation failed and what is known does not say why; add health.json"
        )
    return _exit_code(found, args.fail_on)


def _exit_code(found: Diagnosis, fail_on: str) -> int:
    from unfrag.rules import SEVERITIES

    if fail_on == "never":
        return 0
    bad = SEVERITIES[SEVERITIES.index(fail_on) :]
    return 1 if any(finding.severity in bad for finding in found.findings) else 0
