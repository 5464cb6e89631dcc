"""Runs vLLM's GPU defaults on a CPU: Model Runner V2 with its own kernels, interpreted, and asynchronous scheduling.

Python imports a module of this name at its start, before anything of vLLM; this folder is on ``PYTHONPATH`` of the
rig's processes alone (:mod:`unfrag.rig.gpu_defaults`), so that the workers that vLLM spawns have it too.
Nothing of vLLM is replaced but two refusals: Triton without a driver, and asynchronous scheduling on a CPU.
"""

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import types
from collections.abc import Callable
from typing import Any


class _AfterImport(importlib.abc.MetaPathFinder):
    """Calls a function with a module right after that was loaded, once."""

    def __init__(self, todo: dict[str, Callable[[Any], None]]) -> None:
        self._todo = todo

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name not in self._todo:
            return None
        then = self._todo.pop(name)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            load(module)
            then(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _triton_has_a_driver(backends: Any) -> None:
    """Triton's interpreter needs no driver, but vLLM asks for an active one."""

    class Driver:
        @staticmethod
        def is_active() -> bool:
            return True

    backends.backends.setdefault("cpu", types.SimpleNamespace(driver=Driver, compiler=None))


def _keep_asynchronous_scheduling(cpu: Any) -> None:
    stock = cpu.CpuPlatform.check_and_update_config.__func__

    @functools.wraps(stock)
    def check(cls: Any, config: Any) -> None:
        asked = config.scheduler_config.async_scheduling
        stock(cls, config)
        config.scheduler_config.async_scheduling = True if asked is None else asked

    cpu.CpuPlatform.check_and_update_config = classmethod(check)


todo: dict[str, Callable[[Any], None]] = {}
if os.environ.get("UNFRAG_RIG_V2"):
    todo["triton.backends"] = _triton_has_a_driver
if os.environ.get("UNFRAG_RIG_ASYNC"):
    todo["vllm.platforms.cpu"] = _keep_asynchronous_scheduling
if todo:
    sys.meta_path.insert(0, _AfterImport(todo))
