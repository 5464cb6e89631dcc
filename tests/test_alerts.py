"""The alerts: they fire when they should, their metrics exist, and each leads to a page."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from unfrag.engine.experts.metrics import ExpertMetrics
from unfrag.guard.metrics import Collector

OURS = {metric.name for collector in (ExpertMetrics(), Collector(list)) for metric in collector.collect()}


@pytest.fixture(scope="module")
def rules(root):
    (group,) = yaml.safe_load((root / "alerts" / "unfrag.rules.yml").read_text())["groups"]
    return group["rules"]


def test_every_alert_has_its_page(rules, root):
    for rule in rules:
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        base, _, page = rule["annotations"]["runbook_url"].partition("}}/")
        assert base == "{{ $externalLabels.unfrag_docs "
        assert (root / page).is_file(), rule["alert"]


def test_every_metric_exists(rules):
    vllm = Path(importlib.util.find_spec("vllm").origin).parent
    source = "".join(path.read_text() for path in vllm.glob("v1/metrics/*.py"))
    for rule in rules:
        for name in re.findall(r"\b(?:unfrag_|vllm:)\w+", rule["expr"]):
            base = name.removesuffix("_total")
            assert base in OURS if name.startswith("unfrag_") else f'"{base}"' in source, name


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_they_fire_when_they_should(root):
    done = subprocess.run(
        ["promtool", "test", "rules", "unfrag.test.yml"],
        cwd=root / "alerts",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
