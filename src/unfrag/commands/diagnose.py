"""Say what is wrong with a server's memory, with bytes that add up. Reads only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unfrag.commands import evidence

if TYPE_CHECKING:
    import argparse

    from unfrag.doctor.diagnosis import Diagnosis

NAME = "diagnose"
EXAMPLES = """\
  unfrag diagnose
  unfrag diagnose --url http://127.0.0.1:8000 --log /root/workspace/glm_vllm.log
  unfrag diagnose --config /etc/supervisor/conf.d/glm47flash.conf --program glm_vllm
  unfrag diagnose --evidence ./incident-42 --json
  unfrag diagnose --evidence incident-42.unfrag.tar.gz
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    evidence.prepare(parser)
    parser.add_argument("--thresholds", type=Path, help="TOML with own thresholds")
    parser.add_argument("--fail-on", choices=("info", "warning", "critical", "never"), default="critical")
    parser.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    from unfrag.doctor import diagnosis, rules
    from unfrag.errors import NotEnoughEvidence
    from unfrag.reports import out, print_json
    from unfrag.reports.text.diagnosis import render

    thresholds = rules.load_thresholds(args.thresholds)
    snapshot = evidence.collect(args)
    found = diagnosis.diagnose(snapshot, thresholds)
    if args.json:
        print_json(found)
    else:
        render(found, out())
    if not diagnosis.has_evidence(snapshot):
        raise NotEnoughEvidence(f"nothing to judge by {evidence.nothing(args, snapshot)}")
    if found.verdict == "unknown":
        raise NotEnoughEvidence(evidence.undecided(args, snapshot, bool(found.findings)))
    return _exit_code(found, args.fail_on)


def _exit_code(found: Diagnosis, fail_on: str) -> int:
    from unfrag.doctor.rules import SEVERITIES

    if fail_on == "never":
        return 0
    bad = SEVERITIES[SEVERITIES.index(fail_on) :]
    return 1 if any(finding.severity in bad for finding in found.findings) else 0
