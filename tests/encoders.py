"""Encoders for tests: a tiny untrained one where any will do, and one whose embeddings mean something untrained."""

from __future__ import annotations

import numpy as np

from hmm2song.embeddings.contour_encoder import MelodyEncoder, WindowConfig
from hmm2song.embeddings.network import NetworkConfig

TINY_SIZES = NetworkConfig(channels=8, dim=16, dilations=(1, 2))
PERIODS_ST = (24.0, 12.0, 6.0)
INTERVAL_FRAMES = 12
"""Half a second, from one note to the next in most places."""


def tiny_encoder(seed: int = 0) -> MelodyEncoder:
    """Return a network of a few thousand random weights: songs are still found, by their alignment."""
    return MelodyEncoder.untrained(TINY_SIZES, seed)


def pair_of_encoders() -> MelodyEncoder:
    """Return one that has another for catalogs of recordings."""
    return tiny_encoder().with_tracked(tiny_encoder(seed=1))


class IntervalEncoder:
    """Embeds a window as its intervals, on circles: alike where melodies are alike in whatever key, nought on average.

    What a search makes of embeddings can thereby be tested without a trained network. It has what catalogs and
    recognisers ask of an encoder.
    """

    windows = WindowConfig()
    sizes = NetworkConfig()
    fingerprint = "intervals"
    tracked = None
    for_songs = MelodyEncoder.for_songs
    that_made = MelodyEncoder.that_made
    cut = MelodyEncoder.cut
    embed_song = MelodyEncoder.embed_song

    def embed(self, pitch_st: np.ndarray, voiced: np.ndarray, n_threads: int = 1) -> np.ndarray:
        """Embed windows (n, n_frames) -> (n, dim) float32, unit length or nought; what is not there says nothing."""
        interval_st = pitch_st[:, INTERVAL_FRAMES:] - pitch_st[:, :-INTERVAL_FRAMES]
        angle = 2 * np.pi * interval_st[:, None] / np.array(PERIODS_ST)[:, None]
        phases = np.nan_to_num(np.concatenate((np.cos(angle), np.sin(angle)), axis=1)).reshape(len(pitch_st), -1)
        return (phases / np.maximum(np.linalg.norm(phases, axis=1, keepdims=True), 1e-6)).astype(np.float32)
