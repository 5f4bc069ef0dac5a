"""Writing the dataset that :mod:`hmm2song.evaluation.baselines.mel_cnn.clips` reads, from the pictures of all songs.

The folder is built beside its place and moved there when it is complete. The same songs give the same bytes. Memory
holds one song at a time.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hmm2song.catalog.storage import FolderKind, checksums, replacement
from hmm2song.evaluation.baselines.mel_cnn import full_input, hum_filters, mel, stages
from hmm2song.evaluation.baselines.mel_cnn.clips import (
    ARRAY_DTYPE,
    CLIP_COLUMNS,
    CLIPS_FILE,
    DATA_FILES,
    DATASET_FILE,
    FORMAT_VERSION,
    KINDS,
    SONG_COLUMNS,
    SONGS_FILE,
    ClipSet,
    ClipSetError,
    array_file,
)
from hmm2song.indexing.sources import SkippedFile
from hmm2song.song import Song

SKIPPED_FILE = "skipped.csv"
"""What is not in the dataset and why, for people; it is not read again."""
DATASET = FolderKind("dataset", DATASET_FILE, frozenset((SKIPPED_FILE, *DATA_FILES)), ClipSetError)
START_DIGITS = 6
"""Decimals of times in ``clips.csv``: a sample lasts 45 microseconds."""


@dataclass(frozen=True)
class SongPictures:
    """A song and the file that :func:`hmm2song.evaluation.baselines.mel_cnn.stages.make` made for its stage ``mel``."""

    song: Song
    file: Path


def parameters(rule: full_input.Rule, separator: str) -> dict:
    """Return all that a dataset depends on besides its recordings, as plain JSON types."""
    return {
        "rule": str(rule),
        "separator": separator,
        "stages_version": stages.STAGES_VERSION,
        "librosa_version": mel.load_librosa().__version__,
        "seed": stages.SEED,
        "sample_rate_hz": mel.SAMPLE_RATE_HZ,
        "clip_s": mel.CLIP_S,
        "clip_hop_s": mel.CLIP_HOP_S,
        "n_fft": mel.N_FFT,
        "hop_samples": mel.HOP_SAMPLES,
        "n_mels": mel.N_MELS,
        "n_frames": mel.N_FRAMES,
        "top_db": mel.TOP_DB,
        "filter_order": hum_filters.FILTER_ORDER,
        "high_pass_hz": hum_filters.HIGH_PASS_HZ,
        "low_pass_hz": hum_filters.LOW_PASS_HZ,
        "shift_st": hum_filters.SHIFT_ST,
        "noise_mean": hum_filters.NOISE_MEAN,
        "noise_sd": hum_filters.NOISE_SD,
        "kinds": list(KINDS),
    }


def assemble(
    songs: Sequence[SongPictures],
    skipped: Sequence[SkippedFile],
    about: Mapping,
    out: Path,
    progress: Callable[[int], None] | None = None,
) -> ClipSet:
    """Write a dataset of songs, in their order, with ``about`` from :func:`parameters`, and open it.

    A dataset at ``out`` with nothing added to it is replaced. ``progress`` is called with the number of songs written.
    Raises ClipSetError if there are no songs, or ``out`` must not be overwritten or cannot be written to.
    """
    DATASET.check_replaceable(out)
    if not songs:
        raise ClipSetError("there is no song to make a dataset of")
    try:
        with replacement(out) as new:
            _write_arrays(songs, new, progress)
            _write_table(new / SKIPPED_FILE, ("path", "reason"), ((entry.path, entry.reason) for entry in skipped))
            _write_about(new, about)
            DATASET.check_replaceable(out)  # again: the run may have taken hours
    except OSError as error:
        raise ClipSetError(f"the dataset cannot be written to {str(out)!r} ({error})") from error
    return ClipSet.open(out)


def _write_arrays(songs: Sequence[SongPictures], folder: Path, progress: Callable[[int], None] | None) -> None:
    """Write arrays and tables, song after song."""
    shape = (sum(len(_pictures(one)) for one in songs), mel.N_MELS, mel.N_FRAMES)
    arrays = {
        kind: np.lib.format.open_memmap(folder / array_file(kind), mode="w+", dtype=ARRAY_DTYPE, shape=shape)
        for kind in KINDS
    }
    rows: list[tuple[int, str, float, float]] = []
    for number, one in enumerate(songs, start=1):
        pictures = _pictures(one)
        first, clips = len(rows), pictures.clips()
        for place, kind in enumerate(KINDS):
            arrays[kind][first : first + len(clips)] = clips[:, place]
        for segment in mel.segments(pictures.n_samples):
            start_s, duration_s = (round(value, START_DIGITS) for value in (segment.start_s, segment.duration_s))
            rows.append((len(rows), one.song.id, start_s, duration_s))
        if progress is not None:
            progress(number)
    for array in arrays.values():
        array.flush()
    _write_table(folder / CLIPS_FILE, CLIP_COLUMNS, rows)
    _write_table(folder / SONGS_FILE, SONG_COLUMNS, (_song_row(one.song) for one in songs))


def _pictures(one: SongPictures) -> stages.Pictures:
    pictures = stages.open_pictures(one.file)
    if pictures is None:
        raise ClipSetError(f"the pictures of {one.song.id!r} are gone ({str(one.file)!r}); run the stage mel again")
    return pictures


def _song_row(song: Song) -> tuple[str, ...]:
    return song.id, song.title, song.artist, song.genre, song.gender, song.path


def _write_table(file: Path, columns: Sequence[str], rows: Iterable[Sequence]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _write_about(folder: Path, about: Mapping) -> None:
    """Write ``dataset.json``: parameters, then size and checksum of every file."""
    files = checksums(folder, DATA_FILES)
    text = json.dumps({"format_version": FORMAT_VERSION, **about, "files": files}, indent=1, ensure_ascii=False)
    (folder / DATASET_FILE).write_text(text + "\n", encoding="utf-8")
