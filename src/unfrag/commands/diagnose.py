"""Say what is wrong with a server's memory, with bytes that add up. Reads only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unfrag.commands import evidence
from unfrag.commands.options import add_fail_on, add_json
from unfrag.commands.target import is_named, place

if TYPE_CHECKING:
    import argparse

NAME = "diagnose"
EXAMPLES = """\
  unfrag diagnose
  unfrag diagnose --url http://127.0.0.1:8000 --log /root/workspace/glm_vllm.log
  unfrag diagnose --config /etc/supervisor/conf.d/glm47flash.conf
  unfrag diagnose --unit vllm.service
  unfrag diagnose --compose docker-compose.yml --service vllm
  unfrag diagnose --evidence ./incident-42 --json
  unfrag diagnose --evidence incident-42.unfrag.tar.gz
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    evidence.prepare(parser)
    add_fail_on(parser, "critical", "exit with 1 on a finding of this severity or a graver one")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from unfrag.doctor import diagnosis, rules
    from unfrag.errors import NotEnoughEvidence
    from unfrag.reports import out, print_json
    from unfrag.reports.text.diagnosis import render

    thresholds = rules.load_thresholds(args.thresholds)
    snapshot = evidence.collect(args)
    found = diagnosis.diagnose(snapshot, thresholds)
    if is_named(args):
        from unfrag.commands.fixes import as_commands

        found = as_commands(found, place(args))
    if args.json:
        print_json(found)
    else:
        render(found, out())
    if found.verdict == "unknown":
        raise NotEnoughEvidence(evidence.what_next(args, snapshot, found.why))
    return diagnosis.exit_code(found, args.fail_on)
