#!/usr/bin/env python
"""Make Spleeter's own environment and put its weights there.

    python scripts/setup_spleeter.py
    python scripts/setup_spleeter.py --weights my-downloads/2stems.tar.gz
    python scripts/setup_spleeter.py --url https://mirror.example/2stems.tar.gz --home /data/spleeter

Afterwards the separation backend "spleeter" works:

    python scripts/separate.py --music my-music --out my-stems --backend spleeter

Spleeter 2.4.2 needs Python 3.10 or 3.11, TensorFlow 2.12 and numpy below 2 (requirements-spleeter.txt, 2.4 GB). Its
weights, 73 MB under the MIT licence, come from Spleeter's release on GitHub; the archive is checked against Spleeter's
own checksum wherever it comes from. --weights takes that archive, or a folder with a checkpoint of your own training.
At the end the worker is started once. What is there already is kept, so the same command mends a broken setup.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hmm2song.catalog.storage import replacement
from hmm2song.errors import SeparatorUnavailableError
from hmm2song.indexing.separation.downloads import check_sha256, download
from hmm2song.indexing.separation.spleeter_backend import (
    MODEL_NAME,
    MODEL_VARIABLE,
    PROBE_NAME,
    PYTHON_VARIABLE,
    SpleeterSeparator,
    checkpoint_files,
    python_of,
    spleeter_home,
)
from hmm2song.script import main_of

REQUIREMENTS = ROOT / "requirements-spleeter.txt"
PYTHONS = ("python3.11", "python3.10")
"""Interpreters for which the pinned packages exist."""
WEIGHTS_URL = "https://github.com/deezer/spleeter/releases/download/v1.4.0/2stems.tar.gz"
WEIGHTS_SHA256 = "f3a90b39dd2874269e8b05a48a86745df897b848c61f3958efc80a39152bd692"
"""As in Spleeter's own tests (``tests/test_github_model_provider.py``)."""
WEIGHTS_FILES = ("checkpoint", "model.data-00000-of-00001", "model.index", "model.meta")


def run(options: argparse.Namespace) -> None:
    """Place the weights, make the environment, and try both."""
    model = options.home / "models" / MODEL_NAME
    place_weights(model, options.weights, options.url)
    python = make_environment(options.home / "venv", options.python)
    try_out(python, model)
    print(f"Spleeter is ready in {options.home}")
    if options.home != spleeter_home():
        print(f"set {PYTHON_VARIABLE}={python} and {MODEL_VARIABLE}={model}, so that it is found there")


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=spleeter_home(), help="where all of it goes; default: %(default)s")
    parser.add_argument("--python", help=f"interpreter to use; default: {' or '.join(PYTHONS)}, whichever is there")
    parser.add_argument("--weights", type=Path, help="2stems.tar.gz, or a folder with a checkpoint")
    parser.add_argument("--url", default=WEIGHTS_URL, help="where to download the archive; default: Spleeter's release")
    return parser.parse_args(arguments)


# Weights --------------------------------------------------------------------------------------------------------


def place_weights(model: Path, given: Path | None, url: str) -> None:
    """Put complete, checked weights into a folder, unless they are there and none are given."""
    if given is None and is_complete(model):
        return
    with replacement(model) as new:
        if given is not None and given.is_dir():
            copy_weights(given, new)
        else:
            extract(given or download(url, model.with_name("2stems.tar.gz"), WEIGHTS_SHA256), new)
        (new / PROBE_NAME).write_text("OK", encoding="utf-8")  # what Spleeter writes when its own download ends
        checkpoint_files(new)


def is_complete(model: Path) -> bool:
    """Tell whether a folder holds a checkpoint."""
    try:
        return bool(checkpoint_files(model))
    except SeparatorUnavailableError:
        return False


def copy_weights(given: Path, staging: Path) -> None:
    """Copy the files of a checkpoint, or of the folder 2stems in the one given."""
    inner = given / MODEL_NAME
    source = inner if inner.is_dir() else given
    for file in sorted(source.iterdir()):
        if file.is_file() and not file.name.startswith("."):
            shutil.copyfile(file, staging / file.name)


def extract(archive: Path, staging: Path) -> None:
    """Extract the files of Spleeter's archive, having compared its checksum."""
    if not archive.is_file():
        raise SeparatorUnavailableError(f"there is no folder or archive {str(archive)!r}; check --weights")
    check_sha256(archive, WEIGHTS_SHA256)
    with tarfile.open(archive) as members:
        for member in members:
            name = Path(member.name).name  # whatever folders the archive has: nothing is written outside
            if member.isfile() and name in WEIGHTS_FILES:
                with members.extractfile(member) as content, (staging / name).open("wb") as file:
                    shutil.copyfileobj(content, file)


# Environment ----------------------------------------------------------------------------------------------------


def make_environment(venv: Path, interpreter: str | None) -> Path:
    """Make the virtual environment and install the pinned packages; return its interpreter."""
    python = python_of(venv)
    if not python.is_file():
        call([interpreter or find_python(), "-m", "venv", str(venv)])
    call([str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "-r", str(REQUIREMENTS)])
    return python


def find_python() -> str:
    """Return the first interpreter that will do."""
    for name in PYTHONS:
        if found := shutil.which(name):
            return found
    raise SeparatorUnavailableError(
        f"Spleeter needs Python 3.10 or 3.11, and neither {' nor '.join(PYTHONS)} is here; install one "
        "(for example: uv python install 3.11) and name it with --python"
    )


def call(command: Sequence[str]) -> None:
    """Run a command whose output the user may see."""
    done = subprocess.run(command, check=False)
    if done.returncode != 0:
        raise SeparatorUnavailableError(
            f"{' '.join(command)} failed with status {done.returncode}; its message is above"
        )


def try_out(python: Path, model: Path) -> None:
    """Start the worker once."""
    separator = SpleeterSeparator.open(model, python=python)
    try:
        separator.start()
    finally:
        separator.close()


main = main_of(__file__, parse_options, run, "the same command goes on")

if __name__ == "__main__":
    sys.exit(main())
