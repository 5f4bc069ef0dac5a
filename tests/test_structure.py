"""The house rules that can be read off the source: who imports whom, and what is never called."""

from __future__ import annotations

import ast
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE_FILES = sorted((ROOT / "hmm2song").rglob("*.py"))
SCRIPTS = sorted((ROOT / "scripts").rglob("*.py"))
SOURCES = [*PACKAGE_FILES, *SCRIPTS, ROOT / "app.py"]
PLOTTING = ROOT / "hmm2song" / "page" / "plot.py"
EXECUTING_MODULES = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
EXECUTING_BUILTINS = {"eval", "exec", "compile", "__import__"}
EXECUTING_FUNCTIONS = {"torch.load", "torch.jit.load", "numpy.load", "np.load", "pandas.read_pickle", "pd.read_pickle"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), name_of(path))


def imported_modules(tree: ast.Module) -> set[str]:
    """Return the full names of everything imported anywhere in a file, also inside functions."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def imported_packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported_modules(tree_of(path))}


def forbidden_uses(tree: ast.Module) -> set[str]:
    """Return what a file imports or calls that would run code found in data."""
    found = {name for name in imported_modules(tree) if name.partition(".")[0] in EXECUTING_MODULES}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in EXECUTING_BUILTINS | EXECUTING_FUNCTIONS:
                found.add(called)
            found |= {f"{called}({word.arg}=...)" for word in node.keywords if word.arg == "allow_pickle"}
            found |= {
                f"{called}(shell=...)"
                for word in node.keywords
                if word.arg == "shell" and not (isinstance(word.value, ast.Constant) and word.value.value is False)
            }
    return found


def test_there_is_something_to_look_at():
    assert len(PACKAGE_FILES) > 20
    assert len(SCRIPTS) > 3
    assert PLOTTING in PACKAGE_FILES


def test_importing_the_package_stays_light():
    code = "import sys, hmm2song; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    loaded = set(done.stdout.split())
    assert {"hmm2song", "numpy"} <= loaded
    unwanted = {"gradio", "plotly", "matplotlib", "app", "scripts", "tests", *(path.stem for path in SCRIPTS)}
    assert not loaded & unwanted


@pytest.mark.parametrize("path", PACKAGE_FILES, ids=name_of)
def test_the_package_imports_nothing_from_above(path):
    above = {"app", "scripts", "tests", *(script.stem for script in SCRIPTS)}
    if PLOTTING.parent not in path.parents:
        above |= {"gradio", "gradio_client"}
    assert not imported_packages(path) & above
    assert path == PLOTTING or not imported_packages(path) & {"plotly", "matplotlib"}


def test_the_plot_is_where_it_is_said_to_be():
    assert "plotly" in imported_packages(PLOTTING)


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_no_script_imports_another(path):
    assert not imported_packages(path) & {"app", "scripts", "tests", *(script.stem for script in SCRIPTS)}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_runs_code_found_in_data(path):
    assert forbidden_uses(tree_of(path)) == set()


@pytest.mark.parametrize(
    ("source", "use"),
    [
        ("import pickle", "pickle"),
        ("def f():\n    from joblib import load", "joblib"),
        ("x = eval('1')", "eval"),
        ("torch.load(path, weights_only=False)", "torch.load"),
        ("numpy.load(path)", "numpy.load"),
        ("read(path, allow_pickle=True)", "read(allow_pickle=...)"),
        ("subprocess.run(x, shell=True)", "subprocess.run(shell=...)"),
    ],
)
def test_the_look_for_it_would_find_it(source, use):
    assert use in forbidden_uses(ast.parse(source))


def test_innocent_words_are_not_taken_for_it():
    assert forbidden_uses(ast.parse("re.compile('x'); model.eval(); json.load(file); run(x, shell=False)")) == set()


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_every_script_finds_the_package_beside_it(path):
    begins = [ast.unparse(node).startswith("sys.path.insert(0, ") for node in tree_of(path).body]
    assert any(begins) or "hmm2song" not in imported_packages(path)


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_every_script_explains_itself(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    monkeypatch.setattr(sys, "path", [*sys.path])  # scripts put the package there
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(path), run_name="__main__")
    output, errors = capsys.readouterr()
    assert (done.value.code, errors) == (0, "")
    assert output.startswith(f"usage: {path.name}")
    assert ast.get_docstring(tree_of(path)).splitlines()[0] in output
    assert f"python {name_of(path)}" in output  # an example
