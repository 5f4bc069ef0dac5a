"""Facets as if recordings had been listened to."""

from __future__ import annotations

import numpy as np

from hmm2song.catalog.facets import FEEL_COLUMNS, MOMENT_DIM, N_TAGS, STYLE_DIM, TIMBRE_DIM, Facets


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
