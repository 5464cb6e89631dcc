"""Say what is wrong with a server's memory, with bytes that add up. Reads only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unfrag.commands import evidence
from unfrag.commands.options import add_fail_on, add_json
from unfrag.commands.target import is_named, place

if TYPE_CHECKING:
    import argparse

    from unfrag.doctor.diagnosis import Diagnosis
    from unfrag.doctor.rules.thresholds import Thresholds

NAME = "diagnose"
EXAMPLES = """\
  unfrag diagnose
  unfrag diagnose --url http://127.0.0.1:8000 --log /root/workspace/glm_vllm.log
  unfrag diagnose --config /etc/supervisor/conf.d/glm47flash.conf
  unfrag diagnose --unit vllm.service
  unfrag diagnose --compose docker-compose.yml --service vllm
  unfrag diagnose --evidence ./incident-42 --json
  unfrag diagnose --evidence incident-42.unfrag.tar.gz
  unfrag diagnose --config /etc/supervisor/conf.d/glm47flash.conf --follow
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    evidence.prepare(parser)
    parser.add_argument(
        "--follow", action="store_true", help="go on as the log grows: a line when a finding appears, changes or goes"
    )
    add_fail_on(parser, "critical", "exit with 1 on a finding of this severity or a graver one")
    add_json(parser)
    parser.add_argument("--lang", choices=("en", "zh"), help="of the text; the locale's without it")


def run(args: argparse.Namespace) -> int:
    from unfrag.doctor import diagnosis
    from unfrag.doctor.rules.thresholds import load_thresholds
    from unfrag.doctor.words.language import language
    from unfrag.errors import NotEnoughEvidence
    from unfrag.reports import out, print_json
    from unfrag.reports.text.diagnosis import render

    thresholds = load_thresholds(args.thresholds)
    if args.follow:
        return _follow(args, thresholds)
    snapshot = evidence.collect(args)
    spoken = "en" if args.json else language(args.lang)
    found = _to_paste(diagnosis.diagnose(snapshot, thresholds, spoken), args)
    if args.json:
        print_json(found)
    else:
        render(found, out(), spoken)
    if found.verdict == "unknown":
        # An error is said in English, whole.
        why = found.why if spoken == "en" else diagnosis.diagnose(snapshot, thresholds).why
        raise NotEnoughEvidence(evidence.what_next(args, snapshot, why))
    return diagnosis.exit_code(found, args.fail_on)


def _to_paste(found: Diagnosis, args: argparse.Namespace) -> Diagnosis:
    """Fixes as commands, where the server's place is known."""
    if not is_named(args):
        return found
    from unfrag.commands.fixes import as_commands

    return as_commands(found, place(args))


def _follow(args: argparse.Namespace, thresholds: dict[str, Thresholds]) -> int:
    from unfrag.commands.follow import follow
    from unfrag.errors import UsageError

    if args.evidence:
        raise UsageError("--follow goes with a log that grows, and --evidence does not")
    asked = evidence.asked(args, follow=True)
    if args.log is None:
        raise UsageError("--follow wants a log: name it with --log, or the server's place")
    return follow(asked, args.log, thresholds, args.fail_on, args.json, lambda found: _to_paste(found, args))
