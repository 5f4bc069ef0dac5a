"""A built dataset of the first source system: log-mel clips of songs and their five imitations of a hum.

On disk it is a folder::

    clips.csv        clip, song_id, start_s, duration_s: one row per clip, in the order of the arrays
    songs.csv        song_id, title, artist, genre, gender, path: one row per song that has clips
    org.npy          float16 (n_clips, 128, 431), decibels: the clips themselves (``mel.py``)
    fh.npy fl.npy mh.npy ml.npy n.npy    the same of their five "hums" (``hum_filters.py``)
    dataset.json     format version, every parameter it was built with, size and SHA-256 of each file

The arrays are mapped, not loaded: the 22,730 clips of the source system take 2.5 GB per kind. Nothing is unpickled:
NumPy refuses to map arrays of objects. The folder may come from a stranger, so shapes and types are checked before
anything is used.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hmm2song.catalog.storage import sha256_of
from hmm2song.errors import CatalogError, Hmm2SongError
from hmm2song.evaluation.baselines.mel_cnn.mel import N_FRAMES, N_MELS
from hmm2song.song import Song

FORMAT_VERSION = 1
KINDS = ("org", "fh", "fl", "mh", "ml", "n")
"""The clip itself, then its imitations of a hum."""
ARRAY_DTYPE = np.dtype("<f2")
"""Half precision: steps of 0.06 dB at most between -100 and +60 dB."""
DATASET_FILE = "dataset.json"
CLIPS_FILE = "clips.csv"
SONGS_FILE = "songs.csv"
CLIP_COLUMNS = ("clip", "song_id", "start_s", "duration_s")
SONG_COLUMNS = ("song_id", "title", "artist", "genre", "gender", "path")


class ClipSetError(Hmm2SongError):
    """A dataset folder is incomplete, damaged, or of another version."""


def array_file(kind: str) -> str:
    """Return the name of the file with the clips of one kind."""
    return f"{kind}.npy"


DATA_FILES = (CLIPS_FILE, SONGS_FILE, *map(array_file, KINDS))


@dataclass(frozen=True, eq=False)
class ClipSet:
    """An open dataset in ``folder``.

    ``about`` is ``dataset.json``: rule, separator and all other parameters. ``songs`` are those that have clips;
    ``singer`` is the column ``artist``. For every clip ``clip_song`` (n_clips,) is the place of its song in ``songs``,
    rising; ``start_s`` and ``duration_s`` say where in the song it begins, and how much of its 10 s is song; silence
    follows.
    """

    folder: Path
    about: Mapping
    songs: tuple[Song, ...]
    clip_song: np.ndarray
    start_s: np.ndarray
    duration_s: np.ndarray

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.clip_song)

    @classmethod
    def open(cls, folder: str | Path) -> ClipSet:
        """Open a dataset: read its tables, check sizes and shapes of its arrays; raises ClipSetError.

        Checksums of the arrays, which take a second per gigabyte or more, are compared by :meth:`verify`.
        """
        folder = Path(folder)
        about = _read_about(folder)
        for name in DATA_FILES:
            _check_size(folder / name, about)
        for name in (CLIPS_FILE, SONGS_FILE):
            _check_sum(folder / name, about)
        songs = tuple(_song(row) for row in _rows(folder / SONGS_FILE, SONG_COLUMNS))
        clips = _rows(folder / CLIPS_FILE, CLIP_COLUMNS)
        place = {song.id: number for number, song in enumerate(songs)}
        try:
            opened = cls(
                folder,
                about,
                songs,
                np.array([place[row["song_id"]] for row in clips], dtype=np.int64),
                np.array([float(row["start_s"]) for row in clips]),
                np.array([float(row["duration_s"]) for row in clips]),
            )
        except (KeyError, ValueError) as error:
            raise ClipSetError(f"{CLIPS_FILE} of {folder.name!r} does not fit {SONGS_FILE}: {error!r:.100}") from error
        for kind in KINDS:
            opened.kind(kind)
        return opened

    def kind(self, name: str) -> np.ndarray:
        """Return the clips of one kind: read-only, mapped, shape (n_clips, 128, 431), float16, decibels."""
        if name not in KINDS:
            raise ClipSetError(f"there are no clips of the kind {name!r:.40}; choose one of {', '.join(KINDS)}")
        file = self.folder / array_file(name)
        try:
            clips = np.lib.format.open_memmap(file, mode="r")
        except (OSError, ValueError) as error:
            raise ClipSetError(f"{file.name} of {self.folder.name!r} is no array: {error}; build it again") from error
        shape = (len(self), N_MELS, N_FRAMES)
        if clips.shape != shape or clips.dtype != ARRAY_DTYPE or np.isfortran(clips):
            raise ClipSetError(
                f"{file.name} of {self.folder.name!r} holds {clips.dtype} {clips.shape} instead of float16 {shape}; "
                "build it again"
            )
        return clips

    def verify(self) -> None:
        """Raise a ClipSetError if a file differs from its recorded checksum."""
        for name in DATA_FILES:
            _check_sum(self.folder / name, self.about)


def _read_about(folder: Path) -> dict:
    file = folder / DATASET_FILE
    if not file.is_file():
        raise ClipSetError(f"{str(folder)!r} is not a dataset: it has no {DATASET_FILE}; see scripts/build_dataset.py")
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        version = about["format_version"]
        recorded = {name: about["files"][name] for name in DATA_FILES}
        sound = all(isinstance(one["bytes"], int) and isinstance(one["sha256"], str) for one in recorded.values())
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ClipSetError(f"{DATASET_FILE} of {folder.name!r} is damaged: {error!r:.200}; build it again") from error
    if version != FORMAT_VERSION or not sound:
        raise ClipSetError(
            f"dataset {folder.name!r} has format version {version!r:.20}, this program reads {FORMAT_VERSION}"
        )
    return about


def _check_size(file: Path, about: Mapping) -> None:
    wanted = about["files"][file.name]["bytes"]
    size = file.stat().st_size if file.is_file() else None
    if size != wanted:
        found = "is missing" if size is None else f"has {size} bytes instead of {wanted}"
        raise ClipSetError(f"{file.name} of dataset {file.parent.name!r} {found}; copy or build the dataset again")


def _check_sum(file: Path, about: Mapping) -> None:
    if sha256_of(file) != about["files"][file.name]["sha256"]:
        raise ClipSetError(
            f"{file.name} of dataset {file.parent.name!r} differs from its recorded checksum: damaged or changed; "
            "copy or build the dataset again"
        )


def _rows(file: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            lines = csv.reader(stream)
            if tuple(next(lines, ())) != columns:
                raise ClipSetError(f"{file.name} of {file.parent.name!r} must begin with {','.join(columns)}")
            return [dict(zip(columns, cells, strict=True)) for cells in lines]
    except (OSError, ValueError, csv.Error) as error:  # text that is not UTF-8 and rows of another length included
        raise ClipSetError(f"{file.name} of {file.parent.name!r} cannot be read ({error}); build it again") from error


def _song(row: Mapping[str, str]) -> Song:
    try:
        return Song(row["song_id"], row["title"], row["artist"], "", row["genre"], row["path"], row["gender"])
    except CatalogError as error:
        raise ClipSetError(f"{SONGS_FILE}: {error}") from error
