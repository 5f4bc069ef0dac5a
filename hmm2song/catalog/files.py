"""The files of a catalog folder: manifest, checksums, and replacing a folder as a whole."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from hmm2song.errors import CatalogError, IntegrityError
from hmm2song.song import Song

FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
SONGS_FILE = "songs.json"
MELODIES_FILE = "melodies.safetensors"
EMBEDDINGS_FILE = "embeddings.safetensors"
CREDITS_FILE = "credits.md"
DATA_FILES = (SONGS_FILE, MELODIES_FILE, EMBEDDINGS_FILE, CREDITS_FILE)


def write_songs(folder: Path, songs: Sequence[Song]) -> None:
    """Write the songs' rows; the same songs are the same bytes."""
    rows = [song.to_row() for song in songs]
    (folder / SONGS_FILE).write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def write_manifest(folder: Path, encoder_fingerprint: str, n_songs: int) -> None:
    """Record size and checksum of every data file in ``folder``."""
    manifest = {
        "format_version": FORMAT_VERSION,
        "encoder_fingerprint": encoder_fingerprint,
        "n_songs": n_songs,
        "files": {
            name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)} for name in DATA_FILES
        },
    }
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits; OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> dict:
    """Read and check the manifest, or raise CatalogError or IntegrityError."""
    if not (folder / MANIFEST_FILE).is_file():
        raise CatalogError(f"{folder.name!r} is not a catalog: it has no {MANIFEST_FILE}")
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        version = manifest["format_version"]
        manifest["files"].items()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(
            f"{MANIFEST_FILE} of catalog {folder.name!r} is damaged: {error!r:.200}; fetch it again"
        ) from error
    if version != FORMAT_VERSION:
        raise CatalogError(
            f"catalog {folder.name!r} has format version {version!r:.20}, this program reads {FORMAT_VERSION}"
        )
    return manifest


def check_file(path: Path, recorded: dict | None) -> None:
    """Compare a file with its record in the manifest, or raise IntegrityError."""
    if not isinstance(recorded, dict) or not path.is_file():
        raise IntegrityError(
            f"{path.name} of catalog {path.parent.name!r} is missing; fetch or build the catalog again"
        )
    size = path.stat().st_size
    if size != recorded.get("bytes"):
        raise IntegrityError(
            f"{path.name} of catalog {path.parent.name!r} has {size} bytes instead of "
            f"{recorded.get('bytes')}: truncated or changed; fetch or build the catalog again"
        )
    if sha256_of(path) != recorded.get("sha256"):
        raise IntegrityError(
            f"{path.name} of catalog {path.parent.name!r} differs from its recorded checksum: "
            "damaged or tampered with; fetch or build the catalog again"
        )


def keep_other_files(folder: Path, staging: Path) -> None:
    """Give ``staging`` all that ``folder`` holds besides the catalog: its model, its recordings.

    By hard links, so that recordings take neither time nor room; what cannot be linked is copied. ``folder`` is not
    changed.
    """
    own = {MANIFEST_FILE, *DATA_FILES}

    def left_out(directory: str, _: list[str]) -> set[str]:
        return own if Path(directory) == folder else set()

    shutil.copytree(folder, staging, symlinks=True, ignore=left_out, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system mounted below, one without links, somebody else's file
        shutil.copy2(source, target)


def replace_folder(staging: Path, folder: Path) -> None:
    """Put a complete folder in place of an old one; a crash in between leaves one of the two, aside or in place."""
    if not folder.exists():
        staging.rename(folder)
        return
    retired = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(retired, ignore_errors=True)
    folder.rename(retired)
    try:
        staging.rename(folder)
    except OSError:
        retired.rename(folder)
        raise
    shutil.rmtree(retired)
