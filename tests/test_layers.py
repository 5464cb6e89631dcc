"""The laws of the house that a machine can check."""

import re
import subprocess
import sys

HEAVY = ("vllm", "torch", "transformers", "guidellm", "supervisor")


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


def test_no_file_outgrows_its_idea(root):
    long = {p.name: n for p in (root / "src").rglob("*.py") if (n := len(p.read_text().splitlines())) > 300}
    assert long == {}


def test_every_command_has_examples_and_a_one_line_help():
    from unfrag.commands import COMMANDS

    for command in COMMANDS:
        first, _, rest = (command.__doc__ or "").partition("\n")
        assert first.endswith(".")
        assert not rest
        assert f"unfrag {command.NAME}" in command.EXAMPLES


def test_vllm_is_imported_in_its_own_folder_and_in_the_planners_processes(root):
    engine = root / "src" / "unfrag" / "engine"
    allowed = {engine / "introspect.py", engine / "replay.py", *(engine / "vllm").glob("*.py")}
    found = {
        path
        for path in (root / "src").rglob("*.py")
        if re.search(r"^\s*(?:from|import) vllm\b", path.read_text(), re.MULTILINE)
    }
    assert found - allowed == set()
