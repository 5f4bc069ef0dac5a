"""The project's scripts as modules, for tests that call their functions."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


@contextmanager
def loaded_script(name: str) -> Iterator[ModuleType]:
    """Load ``scripts/<name>.py`` for a while, as a module of that name: dataclasses and workers look it up by it."""
    spec = importlib.util.spec_from_file_location(name, next(SCRIPTS.rglob(f"{name}.py")))
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])
        patch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        yield module


def script_fixture(name: str, scope: str = "module"):
    """Return a fixture that is ``scripts/<name>.py`` as a module."""

    @pytest.fixture(scope=scope)
    def script():
        with loaded_script(name) as module:
            yield module

    return script


def run_script(name: str, *options: object) -> int:
    """Run a script's ``main`` in this process, which saves the seconds that imports take; return its exit status."""
    with loaded_script(name) as script:
        try:
            return script.main([*map(str, options)])
        except SystemExit as stopped:
            return stopped.code
