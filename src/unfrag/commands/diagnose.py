"""Say what is wrong with a server's memory, with bytes that add up. Reads only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unfrag.commands import evidence

if TYPE_CHECKING:
    import argparse

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
    parser.add_argument("--fail-on", choices=("info", "warning", "critical", "never"), default="critical")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--lang", choices=("en", "zh"), help="of the text; the locale's without it")


def run(args: argparse.Namespace) -> int:
    from unfrag.doctor import diagnosis, rules, words
    from unfrag.errors import NotEnoughEvidence
    from unfrag.reports import out, print_json
    from unfrag.reports.text.diagnosis import render

    thresholds = rules.load_thresholds(args.thresholds)
    snapshot = evidence.collect(args)
    language = "en" if args.json else words.language(args.lang)
    found = diagnosis.diagnose(snapshot, thresholds, language)
    if args.json:
        print_json(found)
    else:
        render(found, out(), language)
    if found.verdict == "unknown":
        why = diagnosis.diagnose(snapshot, thresholds).why  # an error is said in English, whole
        raise NotEnoughEvidence(evidence.what_next(args, snapshot, why))
    return diagnosis.exit_code(found, args.fail_on)
