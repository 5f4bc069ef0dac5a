"""The house rules that can be read off the source: who imports whom, what is never called, what scripts say."""

from __future__ import annotations

import ast
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((ROOT / "scripts").rglob("*.py"))
RUNS_DATA = {
    "import pickle": "TID251",
    "def f():\n    from joblib import load": "TID251",
    "import torch\ntorch.load(path, weights_only=False)": "TID251",
    "import numpy\nnumpy.load(path)": "TID251",
    "from numpy import load\nload(path)": "TID251",
    "x = eval('1')": "S307",
    "exec(text)": "S102",
    "import subprocess\nsubprocess.run(x, shell=True)": "S602",
    "start(x, shell=True)": "S604",
}
"""Sources that would run code found in data, and the rule that forbids each."""
INNOCENT = "import re\nre.compile('x')\nmodel.eval()\nstart(x, shell=False)\n"


def run(*command: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, input=text, capture_output=True, encoding="utf-8", timeout=120
    )


def imported_packages(path: Path) -> set[str]:
    """Return what a file imports anywhere, also inside functions, by the first part of its name."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def test_imports_point_downward():
    """Check the contracts of pyproject.toml: floors, circles, the product without its research, one user of Gradio."""
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = run("-c", command, "--no-cache", "--no-logo")
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_imports_the_app_a_script_or_a_test():
    files = [*SCRIPTS, *(ROOT / "hmm2song").rglob("*.py")]
    assert len(SCRIPTS) > 3 and len(files) > len(SCRIPTS) + 20
    above = {"app", "scripts", "tests", *(script.stem for script in SCRIPTS)}
    found = {str(path): imported_packages(path) & above for path in files}
    assert not any(found.values()), found


def test_the_linter_finds_what_runs_code_found_in_data():
    """The linter reads the sources in .ci/run; here it is seen that it would find something."""
    check = ("-m", "ruff", "check", "--output-format", "concise", "--stdin-filename", "hmm2song/room.py", "-")
    for source, rule in RUNS_DATA.items():
        assert f" {rule} " in run(*check, text=source).stdout, source
    assert not set(RUNS_DATA.values()) & set(run(*check, text=INNOCENT).stdout.split())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_explains_itself(path, monkeypatch, capsys):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    begins = [ast.unparse(node).startswith("sys.path.insert(0, ") for node in tree.body]
    assert any(begins) or "hmm2song" not in imported_packages(path)  # it finds the package beside it
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(path), run_name="__main__")
    output, errors = capsys.readouterr()
    assert (done.value.code, errors) == (0, "")
    assert output.startswith(f"usage: {path.name}")
    assert ast.get_docstring(tree).splitlines()[0] in output
    assert f"python {path.relative_to(ROOT).as_posix()}" in output  # an example
