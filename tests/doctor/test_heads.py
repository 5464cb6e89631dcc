"""The head of a page and its rule's module belong together: all names are used, and all placeholders are given."""

import ast
import inspect
import re
from pathlib import Path
from string import Formatter

import pytest

from tests.snapshots import a_snapshot
from unfrag.doctor import collect, diagnosis, rules
from unfrag.doctor.probes.log import parse
from unfrag.doctor.rules.thresholds import load_thresholds
from unfrag.doctor.weigh import dialect, evidence
from unfrag.doctor.words import pages
from unfrag.doctor.words.say import flags, say
from unfrag.facts.finding import CERTAINTIES, CONFIDENCE, SEVERITIES, FlagChange
from unfrag.facts.snapshot import Launch

HERE = Path(__file__).parent
FOLDERS = sorted(path for kind in ("cases", "threads") for path in (HERE / kind).iterdir() if path.is_dir())
THRESHOLDS = load_thresholds()
by_cause = pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.CAUSE)


def placeholders(text):
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def texts(head):
    """Every template of a head."""
    for group in (head.meaning, head.harmless):
        yield from [group] if isinstance(group, str) else group.values()
    yield from head.seen.values()
    for fix in head.fixes.values():
        yield from (fix.text, fix.set, fix.unset)


def strings(module):
    """Texts, keywords and their likes that stand in a module's code."""
    found = set()
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        elif isinstance(node, ast.keyword) and node.arg:
            found.add(node.arg)
    return found


@by_cause
def test_a_head_is_whole(rule):
    head = pages.head(rule.CAUSE)
    assert re.fullmatch(r"UF\d{3}", head.id)
    assert head.seen
    assert head.fixes
    assert all(text.strip() for text in (head.sentence, head.healthy, *head.seen.values()))
    assert all(bool(fix.do) != bool(fix.why) and (fix.do or fix.set) for fix in head.fixes.values())
    assert head.severity in SEVERITIES


@by_cause
def test_every_name_of_a_head_is_one_that_the_rule_gives(rule):
    head, given = pages.head(rule.CAUSE), strings(rule) | strings(evidence)
    assert [name for name in head.seen if name not in given] == []
    chooses = "fixes=" in inspect.getsource(rule)
    assert [name for name in head.fixes if chooses and name not in given] == []
    kinds = [name for group in (head.meaning, head.harmless) if isinstance(group, dict) for name in group]
    assert [name for name in kinds if name not in given] == []
    wanted = set().union(*map(placeholders, texts(head)))
    assert sorted(wanted - given) == []


@pytest.fixture(scope="module")
def judgements():
    """(rule, judged, snapshot) of every folder."""
    found = []
    for folder in FOLDERS:
        snapshot = collect.evidence(folder)
        for rule in rules.RULES:
            if getattr(rule, "can_judge", evidence.has_text)(snapshot):
                judged = rule.judge(snapshot, THRESHOLDS[rule.CAUSE])
                if judged is not None:
                    found.append((rule, judged, snapshot))
    return found


def test_the_values_that_a_rule_gives_are_those_that_the_page_asks_for(judgements):
    wrong = []
    for rule, judged, _ in judgements:
        head = pages.head(rule.CAUSE)
        fixes = [head.fixes[name] for name in (head.fixes if judged.fixes is None else judged.fixes)]
        used = [head.seen[name] for name in judged.seen] + [fix.text + fix.set + fix.unset for fix in fixes]
        for group, name in ((head.meaning, judged.meaning), (head.harmless, judged.harmless)):
            used.append(group if isinstance(group, str) else group[name])
        if set().union(*map(placeholders, used)) != set(judged.values):
            wrong.append((rule.CAUSE, judged.seen, judged.values))
    assert wrong == []


def keys(tree):
    """Names of all values that are put into a dictionary or given to a call below here."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            yield from (key.value for key in node.keys if isinstance(key, ast.Constant))
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            yield node.slice.value
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg


def calls(module):
    """(names of the sentences, values) of each place in a rule where a judgement is made."""
    tree = ast.parse(inspect.getsource(module))
    own = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "_judged"]
    always = {key for function in own for key in keys(function)} | set(keys(ast.parse(inspect.getsource(evidence))))
    for function in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("judged", "_judged"):
                names = [arg for arg in call.args if not (isinstance(arg, ast.Name) and arg.id == "snapshot")]
                seen = {node.value for node in ast.walk(names[0]) if isinstance(node, ast.Constant)}
                given = {word.arg for word in call.keywords if word.arg}
                spread = any(word.arg is None for word in call.keywords)
                yield seen, given | always | (set(keys(function)) if spread else set()), call


@by_cause
def test_every_sentence_gets_its_values_wherever_it_is_said(rule, judgements):
    head, found = pages.head(rule.CAUSE), {}
    for seen, given, call in calls(rule):
        fixed = next((word.value for word in call.keywords if word.arg == "fixes"), None)
        direct = getattr(call.func, "id", "") == "judged" and fixed is None
        named = {node.value for node in ast.walk(fixed) if isinstance(node, ast.Constant)} if fixed else set()
        fixes = [fix for name, fix in head.fixes.items() if direct or name in named]
        wanted = set().union(*(placeholders(head.seen[name]) for name in seen if name in head.seen))
        wanted |= set().union(*(placeholders(fix.text + fix.set + fix.unset) for fix in fixes))
        assert sorted(wanted - given) == [], (seen, call.lineno)
        found |= dict.fromkeys(seen, given)
    by_table = {name for name in head.seen if name not in found and placeholders(head.seen[name])}
    assert by_table <= {name for said, judged, _ in judgements if said is rule for name in judged.seen}


def test_most_sentences_are_said_in_some_case(judgements):
    said = {(rule.CAUSE, name) for rule, judged, _ in judgements for name in judged.seen}
    all_of_them = {(rule.CAUSE, name) for rule in rules.RULES for name in pages.head(rule.CAUSE).seen}
    assert len(said) > len(all_of_them) * 0.65, sorted(all_of_them - said)


def test_no_finding_prints_a_placeholder_and_every_change_stands_in_its_fix(judgements):
    for rule, judged, snapshot in judgements:
        for language in ("en", "zh"):
            finding = say(rule.CAUSE, judged, dialect.of(snapshot), language)
            assert "--the-flag" not in " ".join(finding.fixes)
            assert finding.certainty in CERTAINTIES
            assert finding.confidence == CONFIDENCE[finding.certainty]
            for change in finding.changes:
                assert change.flag in finding.fixes[change.fix]
                assert change.unset or change.value is None or change.value in finding.fixes[change.fix]


def test_what_a_fix_changes_can_be_given_to_apply():
    log = parse(
        "ValueError: To serve at least one request with the models's max seq len (131072), (16.00 GiB KV cache is "
        "needed, which is larger than the available KV cache memory (9.41 GiB). Based on the available memory, the "
        "estimated maximum model length is 77072.\n"
    )
    findings, _ = diagnosis.judge_all(a_snapshot(log=log), THRESHOLDS)
    best = next(finding for finding in findings if finding.cause == "kv_pool_too_small")
    assert best.certainty == "proven"
    assert best.changes[:2] == (FlagChange(0, "--max-model-len", "77072"), FlagChange(1, "--kv-cache-dtype", "fp8"))
    sglang = Launch("python -m sglang.launch_server --model x", {}, "test")
    findings, _ = diagnosis.judge_all(a_snapshot(log=log, launch=sglang), THRESHOLDS)
    best = next(finding for finding in findings if finding.cause == "kv_pool_too_small")
    assert best.changes[0] == FlagChange(0, "--context-length", "77072")


@pytest.mark.parametrize(
    ("words", "unset", "found"),
    [
        ("--a 1 --b", False, [("--a", "1"), ("--b", None)]),
        ("NAME=a:True", False, [("NAME", "a:True")]),
        ("""--c '{"image": 1}'""", False, [("--c", '{"image": 1}')]),
        ("--a", True, [("--a", None)]),
        ("FIRST SECOND", True, [("FIRST", None), ("SECOND", None)]),
        ("", False, []),
    ],
)
def test_flags_are_read_as_a_shell_reads_them(words, unset, found):
    assert flags(words, 3, unset=unset) == [FlagChange(3, flag, value, unset) for flag, value in found]


def test_a_flag_that_was_refused_by_its_name_is_to_go():
    log = parse("vllm: error: unrecognized arguments: --no-such-flag\n")
    findings, _ = diagnosis.judge_all(a_snapshot(log=log), THRESHOLDS)
    assert findings[0].changes == (FlagChange(0, "--no-such-flag", None, True),)
