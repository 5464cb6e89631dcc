"""Put all evidence of an incident into one file, without secrets, for a colleague or for later."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unfrag.commands import evidence
from unfrag.commands.options import add_dry_run, add_json

if TYPE_CHECKING:
    import argparse

NAME = "capture"
_KNOWN = "log.txt: {:,} of {:,} lines are known messages; of the rest, what is not known is there only as its shape"
_RAW = "raw: what users wrote, and keys of unknown forms, may be inside; look through it before you pass it on"
EXAMPLES = """\
  unfrag capture --config /etc/supervisor/conf.d/glm47flash.conf
  unfrag capture --log /root/workspace/glm_vllm.log
  unfrag capture --evidence ./incident-42 --out incident-42.unfrag.tar.gz
  unfrag capture --dry-run
  unfrag capture --raw --log vllm.log            keeps all words, less known forms of keys and prompts
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    evidence.prepare(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the file to write (default: unfrag-TIME.unfrag.tar.gz here)"
    )
    parser.add_argument(
        "--raw", action="store_true", help="keep all words of the log, less known forms of keys and prompts"
    )
    add_dry_run(parser, "what would be inside")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    import io
    import time

    from unfrag.doctor import capture, diagnosis
    from unfrag.doctor.doubt import has_evidence
    from unfrag.doctor.rules.thresholds import load_thresholds
    from unfrag.errors import NotEnoughEvidence, UsageError
    from unfrag.reports import SafeConsole, err, out, print_json
    from unfrag.reports.text.diagnosis import render
    from unfrag.units import size

    snapshot = evidence.collect(args)
    if not has_evidence(snapshot):
        raise NotEnoughEvidence(evidence.what_next(args, snapshot, "there is nothing to capture"))
    text, facts = io.StringIO(), capture.facts_of(snapshot, args.raw)
    render(
        diagnosis.diagnose(facts, load_thresholds(args.thresholds)), SafeConsole(file=text, width=120, no_color=True)
    )
    log = args.log or (args.evidence / "log.txt" if args.evidence and args.evidence.is_dir() else None)
    files, known = capture.files_of(facts, text.getvalue(), log, args.raw)
    path = args.out or Path(time.strftime("unfrag-%Y%m%d-%H%M%S") + capture.SUFFIX)
    console = err()
    if path.exists() and not args.dry_run:
        raise UsageError(f"{path} exists; choose another --out")
    console.print(f"{path} {'would hold' if args.dry_run else 'holds'}:", markup=False)
    for name, content in files.items():
        console.print(f"  {name:16} {size(len(content.encode()))}")
    if known is not None:
        console.print(_KNOWN.format(known.known, known.lines), markup=False)
    if args.raw:
        console.print(_RAW, markup=False)
    if not args.dry_run:
        capture.pack(files, path)
        console.print(f"read it with: unfrag diagnose --evidence {path}", markup=False)
    if args.json:
        print_json({"schema_version": 1, "path": None if args.dry_run else str(path), "files": list(files)})
    elif not args.dry_run:
        out().print(str(path), markup=False)
    return 0
