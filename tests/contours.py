"""Contours made by hand, for tests of everything that works on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hmm2song.melody.contour import FilledContour
from hmm2song.melody.melody import FRAME_RATE_HZ


def contour(pitch_midi: Sequence[float] | np.ndarray, offset_s: float = 0.0) -> FilledContour:
    """A contour without rests."""
    pitch_midi = np.asarray(pitch_midi, dtype=np.float32)
    return FilledContour(pitch_midi, np.ones(len(pitch_midi), dtype=bool), offset_s)


def random_notes(seed: int, n_notes: int = 100, note_frames: tuple[int, int] = (6, 16)) -> FilledContour:
    """Notes anywhere in two octaves, less than a second long: two such tunes have nothing in common."""
    rng = np.random.default_rng(seed)
    return contour(np.repeat(rng.uniform(48.0, 72.0, n_notes), rng.integers(*note_frames, n_notes)))


def hummed(
    song: FilledContour, start_s: float = 5.0, hum_s: float = 8.0, speed: float = 1.0, key_st: float = 0.0
) -> FilledContour:
    """A perfect hum of a song's contour from ``start_s``, ``speed`` times as fast, until the song ends at most."""
    time_s = start_s + (np.arange(round(hum_s * FRAME_RATE_HZ)) + 0.5) / FRAME_RATE_HZ * speed
    time_s = time_s[time_s < song.duration_s]
    return FilledContour(song.sample(time_s) + np.float32(key_st), song.sample_voiced(time_s), 0.0)
