"""The laws of the house that a machine can check. ``MAY_IMPORT`` is who may import whom."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = ("vllm", "torch", "transformers", "guidellm", "supervisor")
AT_THE_ROOT = {"__init__", "__main__", "cli", "errors", "units"}
LOW = {"errors", "units", "facts", "system"}
DOCTOR = ("doctor", "doctor.collect", "doctor.rules")
# Folder or, where a part of it lies lower than the rest, folder.part: what it may import next to itself.
MAY_IMPORT = {
    "units": set(),
    "errors": set(),
    "facts": set(),
    "system": {"errors", "__version__"},
    "flags": LOW,
    "redaction": {"errors", "system"},
    "server": LOW | {"flags", "redaction"},
    "launchers": LOW | {"flags", "redaction", "server"},
    "doctor.probes": LOW | {"flags", "server"},
    "bench": LOW | {"redaction", "server", "doctor.probes"},
    "plan": LOW | {"flags", "server", "bench"},
    "doctor.collect": LOW | {"flags", "server", "doctor.probes"},
    "doctor.allowed": LOW | {"flags", "redaction", "doctor.probes"},
    "doctor.weigh": LOW | {"flags", "plan"},
    "doctor.words": LOW | {"doctor.weigh"},
    "doctor.rules": LOW | {"flags", "doctor.weigh"},
    "doctor": LOW
    | {"redaction", "server", *(f"doctor.{part}" for part in ("probes", "weigh", "words", "rules", "allowed"))},
    "reports": LOW | {"doctor", "doctor.words", "plan", "bench"},
    "apply": LOW | {"flags", "redaction", "server", "launchers", *DOCTOR},
    "guard": LOW | {"flags", "server", "launchers", "apply", "reports", *DOCTOR},
    "rig": LOW | {"flags", "server", "launchers", "plan", "bench", "apply", "doctor.probes", *DOCTOR},
    "engine": {"units", "errors", "facts", "flags"},
    "cli": {"errors", "system", "flags", "redaction", "reports", "commands", "__version__"},
}
FREE = ("commands", "__main__", "__init__")
"""A verb calls whatever it needs; nobody imports a verb but the command line."""


def owner(module: str) -> str:
    """The most precise row that a module of ours belongs to: ``doctor.probes.nvml`` is of ``doctor.probes``."""
    parts = module.split(".")[1:] or ["__init__"]
    return ".".join(parts[:2]) if ".".join(parts[:2]) in MAY_IMPORT else parts[0]


def imported(path: Path) -> set[str]:
    """Modules of ours that a file imports, also inside functions and for types alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "unfrag":
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if node.module.count(".") < 2 else {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "unfrag"}
    return found


def breaches(source: Path) -> set[tuple[str, str]]:
    """(importing file, what it must not import)."""
    found = set()
    for path in source.rglob("*.py"):
        mine = owner(".".join(("unfrag", *path.relative_to(source).with_suffix("").parts)))
        if mine in FREE:
            continue
        for module in imported(path):
            theirs = owner(module)
            if theirs != mine and theirs not in MAY_IMPORT[mine]:
                found.add((str(path.relative_to(source)), module))
    return found


@pytest.fixture(scope="module")
def source(root) -> Path:
    return root / "src" / "unfrag"


def test_nobody_imports_what_lies_above(source):
    assert breaches(source) == set()


@pytest.mark.parametrize("mine", sorted(MAY_IMPORT))
def test_a_planted_breach_is_seen(mine, tmp_path):
    """Each row of the table forbids something: the command line's own verbs."""
    folder = tmp_path.joinpath(*mine.split("."))
    path = folder.with_suffix(".py") if mine in AT_THE_ROOT else folder / "planted.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("def f():\n    from unfrag.commands import apply\n    from unfrag.rig.server import Rig\n")
    seen = {module for _, module in breaches(tmp_path)}
    assert "unfrag.rig.server" in seen or mine == "rig"
    assert "unfrag.commands.apply" in seen or mine == "cli"


def test_every_folder_has_a_row(source):
    folders = {path.name for path in source.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders - {"commands"} == {row.partition(".")[0] for row in MAY_IMPORT} - AT_THE_ROOT


def test_little_stands_at_the_root(source):
    assert {path.stem for path in source.glob("*.py")} == AT_THE_ROOT


def test_judges_know_no_reports_launchers_or_verbs():
    for judge in ("doctor.rules", "doctor.weigh", "doctor"):
        assert not MAY_IMPORT[judge] & {"reports", "launchers", "commands"}


def modules_after(statement):
    code = f"{statement}\nimport sys; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.splitlines()}


def test_the_command_line_and_a_diagnosis_load_nothing_heavy():
    loaded = modules_after(
        "import unfrag.cli, unfrag.doctor.diagnosis, unfrag.reports.text.diagnosis, unfrag.bench.run"
    )
    assert not loaded & set(HEAVY)


def test_help_loads_no_client_and_no_renderer():
    assert not modules_after("import unfrag.cli") & {*HEAVY, "httpx", "rich", "msgspec", "psutil"}


def test_no_file_outgrows_its_idea(source):
    long = {p.name: n for p in source.rglob("*.py") if (n := len(p.read_text().splitlines())) > 300}
    assert long == {}


def test_every_command_has_examples_and_a_one_line_help():
    from unfrag.commands import COMMANDS

    for command in COMMANDS:
        first, _, rest = (command.__doc__ or "").partition("\n")
        assert first.endswith(".")
        assert not rest
        assert f"unfrag {command.NAME}" in command.EXAMPLES


def test_vllm_is_imported_in_its_own_folder_and_in_the_planners_processes(source):
    engine = source / "engine"
    allowed = {engine / "introspect.py", engine / "replay.py", *(engine / "vllm").glob("*.py")}
    found = {
        path
        for path in source.rglob("*.py")
        if re.search(r"^\s*(?:from|import) vllm\b", path.read_text(), re.MULTILINE)
    }
    assert found - allowed == set()
