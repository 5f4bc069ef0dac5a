"""Facets as if recordings had been listened to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from hmm2song.catalog import storage
from hmm2song.catalog.facets import FEEL_COLUMNS, MOMENT_DIM, N_TAGS, STYLE_DIM, TIMBRE_DIM, Facets
from hmm2song.song import Song


def made_facets(n_songs: int, seed: int = 0, listener: str = "ears", voice_dim: int = 8) -> Facets:
    """Return random facets; of every third song nobody heard anything, every other has a voice."""
    rng = np.random.default_rng(seed)
    heard = np.arange(n_songs) % 3 != 2

    def random(n_columns: int, rows: np.ndarray = heard) -> np.ndarray:
        return (rng.normal(size=(n_songs, n_columns)) * rows[:, None]).astype(np.float16)

    n_moments = (rng.integers(0, 5, n_songs) * heard).astype(np.int32)
    sung = heard & (np.arange(n_songs) % 2 == 0)
    return Facets(
        heard=heard,
        style=random(STYLE_DIM),
        timbre=random(TIMBRE_DIM),
        tags=random(N_TAGS),
        voice=random(voice_dim, sung),
        singing_share=(sung / 2).astype(np.float32),
        feel=random(len(FEEL_COLUMNS)).astype(np.float32),
        duration_s=(heard * rng.uniform(100, 300, n_songs)).astype(np.float32),
        n_moments=n_moments,
        moment_start_s=rng.uniform(0, 100, n_moments.sum()).astype(np.float32),
        moments=rng.integers(-128, 128, (n_moments.sum(), MOMENT_DIM)).astype(np.int8),
        listener=listener,
    )


N_SINGERS, N_SONGS, N_MOMENTS = 8, 48, 4
"""Song i is sung by singer i % 8, in style i % 6, at 60 + 5 (i % 4) bpm."""


def studio(n_songs: int = N_SONGS) -> tuple[tuple[Song, ...], Facets]:
    """Return songs and what is heard in them: singers, styles and tempi are as far apart as can be."""
    rng, number = np.random.default_rng(5), np.arange(n_songs)
    songs = tuple(
        Song(
            f"s{i:02}",
            f"Title {i}",
            singer=f"Singer {i % N_SINGERS}",
            genre=("Rock", "Jazz", "")[i % 3],
            year=str(1960 + i) if i % 5 else "",
        )
        for i in number
    )
    facets = made_facets(n_songs)

    def near(names: np.ndarray, n_columns: int) -> np.ndarray:
        kinds = rng.normal(size=(names.max() + 1, n_columns))
        return (kinds[names] + rng.normal(scale=0.3, size=(n_songs, n_columns))).astype(np.float16)

    feel = np.ones((n_songs, len(FEEL_COLUMNS)), np.float32)
    feel[:, 0] = 60.0 + 5 * (number % 4)
    return songs, replace(
        facets.take(np.zeros(n_songs, int)),
        style=near(number % 6, facets.style.shape[1]),
        timbre=near(number % 6, facets.timbre.shape[1]),
        tags=np.full_like(facets.tags, 0.1),
        voice=near(number % N_SINGERS, 64),
        feel=feel,
        duration_s=rng.uniform(100, 300, n_songs).astype(np.float32),
        n_moments=np.full(n_songs, N_MOMENTS, np.int32),
        moment_start_s=np.tile(np.arange(N_MOMENTS, dtype=np.float32) * 6, n_songs),
        moments=np.concatenate([_moments_like(number % 6, rng) for number in range(n_songs)]),
    )


def _moments_like(kind: int, rng: np.random.Generator) -> np.ndarray:
    """Return moments (4, 28) of two kinds of sound: the first and the last sound like those of the kind."""
    kinds = np.random.default_rng(kind).integers(-40, 40, (2, MOMENT_DIM))
    return (kinds[[0, 1, 0, 0]] + rng.integers(-5, 6, (N_MOMENTS, MOMENT_DIM))).astype(np.int8)


def save_heard(songs: tuple[Song, ...], facets: Facets, folder: Path) -> None:
    """Save a catalog without melodies."""
    storage.write_songs(folder, songs)
    facets.write(folder / storage.FACETS_FILE)
    (folder / storage.CREDITS_FILE).write_text("# Credits\n", encoding="utf-8")
    storage.write_manifest(folder, "", len(songs))
