"""Datasets of the first source system made of pictures nobody drew, for tests that need clips told apart."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hmm2song.catalog.storage import checksums
from hmm2song.evaluation.baselines.mel_cnn.clips import (
    CLIP_COLUMNS,
    CLIPS_FILE,
    DATA_FILES,
    DATASET_FILE,
    FORMAT_VERSION,
    KINDS,
    SONG_COLUMNS,
    SONGS_FILE,
    ClipSet,
    array_file,
)
from hmm2song.evaluation.baselines.mel_cnn.mel import N_FRAMES, N_MELS, SAMPLE_RATE_HZ, log_mel

HOP_S = 8.0
GENRES = ("Folk", "Folk,Rock", "Rock", "")
GENDERS = ("female", "male", "")


def pictures(n_clips: int, seed: int = 0) -> np.ndarray:
    """Random pictures in dB, (n_clips, 128, 431) float16, coarse enough to look alike after some filtering."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(-60.0, 0.0, (n_clips, N_MELS // 8, -(-N_FRAMES // 8)))
    return coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :, :N_FRAMES].astype(np.float16)


def make_clip_set(folder: Path, clips_per_song: Sequence[int] = (2, 2, 2), noise_db: float = 3.0) -> ClipSet:
    """Write a dataset whose hums are its clips with another noise each, and open it."""
    folder.mkdir(parents=True)
    clip_song = np.repeat(np.arange(len(clips_per_song)), clips_per_song)
    originals = pictures(len(clip_song))
    rng = np.random.default_rng(1)
    for kind in KINDS:
        noise = 0.0 if kind == "org" else noise_db * rng.standard_normal(originals.shape)
        np.save(folder / array_file(kind), (originals + noise).astype(np.float16))
    write_table(folder / SONGS_FILE, SONG_COLUMNS, [song_row(number) for number in range(len(clips_per_song))])
    of_song = [number for count in clips_per_song for number in range(count)]
    rows = [(clip, f"s{song}", HOP_S * of_song[clip], 10.0) for clip, song in enumerate(clip_song)]
    write_table(folder / CLIPS_FILE, CLIP_COLUMNS, rows)
    seal(folder)
    return ClipSet.open(folder)


def tones(number: int, seconds: float = 6.0, rate_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    """A chord of its own for every number, (n,) float32."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    partials_hz = 200.0 * 1.37**number * np.array([1.0, 2.1, 3.3])
    return (0.2 * np.sin(2 * np.pi * partials_hz[:, None] * time_s).sum(axis=0)).astype(np.float32)


def make_sounding_set(folder: Path, clips_per_song: Sequence[int]) -> ClipSet:
    """Write a dataset whose clip n sounds like ``tones(n)``, and open it."""
    opened = make_clip_set(folder, clips_per_song)
    writable = np.lib.format.open_memmap(opened.folder / "org.npy", mode="r+")
    writable[:] = [log_mel(tones(number)) for number in range(len(opened))]
    writable.flush()
    return opened


def seal(folder: Path) -> None:
    """Write ``dataset.json`` with the sizes and checksums of the files as they are."""
    about = {"format_version": FORMAT_VERSION, "files": checksums(folder, DATA_FILES)}
    (folder / DATASET_FILE).write_text(json.dumps(about), encoding="utf-8")


def song_row(number: int) -> tuple[str, ...]:
    """One row of the songs."""
    genre, gender = GENRES[number % len(GENRES)], GENDERS[number % len(GENDERS)]
    return f"s{number}", f"Song {number}", f"Singer {number}", genre, gender, ""


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence]) -> None:
    """Write a CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
