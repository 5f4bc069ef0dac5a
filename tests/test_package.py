"""The package as it is installed and imported: what the wheel holds, what an import loads, which names there are."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import hmm2song
from hmm2song import recognizer
from hmm2song.match import results

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HEAVY = {"torch", "onnxruntime", "numba", "av", "huggingface_hub", "numpy", "scipy", "gradio", "plotly", "pandas"}


def run(*command: object, folder: Path = ROOT, **environment: str) -> str:
    """Run a command to its good end and return what it printed."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import hmm2song, hmm2song.errors; dir(hmm2song)",
        "from hmm2song.__main__ import main\ntry: main(['index', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_errors_and_help_load_nothing_heavy(code):
    assert HEAVY.isdisjoint(run(sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)").split())


def test_importing_everything_loads_no_page_and_no_torch():
    code = "import sys\nfrom hmm2song import *\nprint(*(name.partition('.')[0] for name in sys.modules))"
    loaded = set(run(sys.executable, "-c", code).split())
    assert "numba" in loaded
    assert loaded.isdisjoint({"torch", "gradio", "plotly", "matplotlib", "pandas", "app", "scripts", "tests"})


def test_the_face_of_the_package():
    assert hmm2song.Recognizer is recognizer.Recognizer
    assert all(getattr(hmm2song, name) is getattr(results, name) for name in ("Match", "SearchResult", "Alignment"))
    assert {*hmm2song.__all__, "__version__", "errors"} <= set(dir(hmm2song))
    with pytest.raises(AttributeError, match="no attribute 'Recogniser'"):
        _ = hmm2song.Recogniser


def test_the_wheel_works_from_any_folder(tmp_path):
    """Build and install without a network; the console command and ``python -m`` then find the bundled catalog."""
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", ROOT, "-w", tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"hmm2song-{hmm2song.__version__}-")
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    run(*pip, "install", "--no-deps", "--target", installed, wheel)
    command = (installed / "bin" / "hmm2song", "recognize", ROOT / "assets/examples/arirang.flac", "--json")
    found = json.loads(run(*command, folder=elsewhere, PYTHONPATH=str(installed)))
    assert (found["matches"][0]["id"], found["no_match"]) == ("songbook_arirang", False)
    module = (sys.executable, "-m", "hmm2song", "--version")
    assert run(*module, folder=elsewhere, PYTHONPATH=str(installed)) == f"hmm2song {hmm2song.__version__}\n"
    assets = {path.relative_to(installed / "hmm2song/assets").parts[0] for path in installed.glob("hmm2song/assets/*")}
    assert assets == {
        "catalog", "examples", "free_catalog", "model", "model_labels", "model_mix", "model_style", "model_voice"
    }  # fmt: skip
    assert (installed / "hmm2song/page/texts/ja.toml").is_file()


def test_requirements_pin_what_the_package_asks_for():
    lines = re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    pinned = {name.lower(): version for name, version in lines}
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["notebook"]]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(pinned[requirement.name]), requirement
