"""The doctor speaks each of its languages whole, and a program reads the same whatever people read."""

import json
import re
from pathlib import Path
from string import Formatter

import pytest

from unfrag import cli
from unfrag.doctor.rules import RULES
from unfrag.doctor.words import language, pages

CAUSES = [rule.CAUSE for rule in RULES]
IN_CHINESE = [cause for cause in CAUSES if pages.has(cause, "zh")]
CASE = Path(__file__).parent / "cases" / "kv_pool_too_small-llama8b-128k-on-l4"
QUIET = Path(__file__).parent / "healthy"
HAN = re.compile(r"[\u4e00-\u9fff]")


def leaves(table, path=()):
    """(path, text) of every text in a table of tables."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        elif isinstance(value, list):
            yield from leaves({str(i): each for i, each in enumerate(value)}, (*path, key))
        else:
            yield (*path, key), value


def placeholders(text):
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def same_keys_and_placeholders(english, other):
    ours, theirs = dict(leaves(english)), dict(leaves(other))
    assert ours.keys() == theirs.keys()
    assert [key for key in ours if placeholders(ours[key]) != placeholders(theirs[key])] == []


def test_the_commonest_causes_are_there_in_chinese():
    wanted = {"kv_pool_too_small", "preemption_thrash", "weights_do_not_fit", "utilization_too_high"}
    wanted |= {"pool_fragmentation", "allocator_fragmentation", "foreign_process", "profiling_underestimate"}
    assert wanted | {"unsupported_flag", "engine_stalled"} <= set(IN_CHINESE)


@pytest.mark.parametrize("cause", IN_CHINESE)
def test_a_head_in_chinese_has_the_keys_and_placeholders_of_the_english_one(cause):
    english, chinese = pages.raw(cause), pages.raw(cause, "zh")
    same_keys_and_placeholders(english, chinese)
    fixed = [key for key, _ in leaves(english) if key[-1] in ("id", "severity", "set", "unset")]
    assert {key: dict(leaves(english))[key] for key in fixed} == {key: dict(leaves(chinese))[key] for key in fixed}
    untranslated = [key for key, text in leaves(chinese) if key not in fixed and key != ("seen", "end")]
    texts = dict(leaves(chinese))
    assert [key for key in untranslated if not HAN.search(texts[key]) and key[-1] not in ("where", "listed")] == []


@pytest.mark.parametrize("cause", IN_CHINESE)
def test_a_page_in_chinese_has_the_parts_the_code_and_the_thresholds_of_the_english_one(cause):
    english, chinese = pages.page(cause), pages.page(cause, "zh")
    assert chinese.splitlines()[0] == english.splitlines()[0]
    assert re.findall(r"^## (.*)$", chinese, re.MULTILINE) == list(pages.HEADINGS_ZH)
    assert chinese.count("```") == english.count("```")
    assert re.findall(r"^- `(\w+)`", chinese, re.MULTILINE) == re.findall(r"^- `(\w+)`", english, re.MULTILINE)
    assert re.findall(r"https://\S+", chinese) == re.findall(r"https://\S+", english)


def test_the_tables_of_the_report_have_the_same_keys_and_placeholders():
    tables = [_table(language.words(name)) for name in language.LANGUAGES]
    same_keys_and_placeholders(*tables)


def _table(table):
    return {name: getattr(table, name) for name in table.__struct_fields__}


@pytest.mark.parametrize(
    ("said", "spoken"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_TW.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({}, "en"),
    ],
)
def test_the_locale_says_which(said, spoken, monkeypatch):
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    assert language.language() == spoken
    assert language.language("en") == "en"


def test_diagnose_in_chinese(capsys, monkeypatch):
    cli.main(["diagnose", "--evidence", str(CASE), "--lang", "zh"])
    text = capsys.readouterr().out
    assert "严重 UF004 kv_pool_too_small，置信度 95%" in text
    assert "处理：       --max-model-len 26784   # 当前放得下的长度" in text
    assert "harmless" not in text
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    cli.main(["diagnose", "--evidence", str(CASE)])
    assert capsys.readouterr().out == text
    cli.main(["diagnose", "--evidence", str(CASE), "--lang", "en"])
    assert not HAN.search(capsys.readouterr().out)


def test_json_is_english_whatever_people_read(capsys, monkeypatch):
    for command in (["diagnose", "--evidence", str(CASE)], ["explain", "UF004"], ["explain"]):
        cli.main([*command, "--json"])
        english = capsys.readouterr().out
        monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
        cli.main([*command, "--json", "--lang", "zh"])
        assert capsys.readouterr().out == english
        assert json.loads(english)["schema_version"] == 1
        monkeypatch.setenv("LC_ALL", "C.UTF-8")


def test_an_error_is_one_line_of_one_language(capsys, tmp_path):
    (tmp_path / "log.txt").write_text("nothing much\n")
    assert cli.main(["diagnose", "--evidence", str(tmp_path), "--lang", "zh"]) == 3
    printed = capsys.readouterr()
    assert "无法判断" in printed.out
    assert not HAN.search(printed.err)


def test_a_healthy_server_is_called_so_in_chinese(capsys):
    folder = sorted(path for path in QUIET.iterdir() if path.is_dir())[0]
    assert cli.main(["diagnose", "--evidence", str(folder), "--lang", "zh"]) == 0
    assert "正常（就目前能看到的而言）" in capsys.readouterr().out


def test_explain_in_chinese_and_in_english_where_there_is_no_such_page(capsys):
    cli.main(["explain", "engine_stalled", "--lang", "zh"])
    assert "为什么有问题" in capsys.readouterr().out
    other = next(cause for cause in CAUSES if cause not in IN_CHINESE)
    cli.main(["explain", other, "--lang", "zh"])
    assert "Why is this bad?" in capsys.readouterr().out
