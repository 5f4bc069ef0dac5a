"""Moments: stretches of eight beats of songs that sound like one of another song, by timbre and course of loudness.

They come from the fourth source system, which compares MFCC and the loudness of eight beats. Here every column is
divided by its deviation among the moments of a sample of the catalog, and the distance is Euclidean.
"""

from __future__ import annotations

import numpy as np

from hmm2song.catalog.facets import BEATS_PER_MOMENT, N_MFCC, Facets
from hmm2song.errors import QueryError
from hmm2song.index.base import first_windows
from hmm2song.similar.neighbours import N_SAMPLE
from hmm2song.similar.spaces import tempo_bpm

LOUDNESS_WEIGHT = 0.5
"""What the loudness of a beat counts beside an MFCC."""
LONGEST_S = 4.0
"""Length of a moment of a song without a beat."""
BLOCK_MOMENTS = 65_536


class Moments:
    """The moments of all songs of a catalog."""

    def __init__(self, facets: Facets, order: np.ndarray) -> None:
        """Take the moments of ``facets``; ``order`` (n_songs,) begins with the sample to scale by."""
        self._facets = facets
        self.first = first_windows(facets.n_moments)
        with_moments = order[facets.n_moments[order] > 0][:N_SAMPLE]
        spread = facets.take(with_moments).moments.astype(np.float32).std(axis=0)
        weight = np.where(np.arange(len(spread)) < N_MFCC, 1.0, LOUDNESS_WEIGHT)
        self._scale = (weight / np.maximum(spread, 0.5)).astype(np.float32)  # the columns are whole numbers

    def __len__(self) -> int:
        return len(self._facets.moments)

    def distances(self, moment: np.ndarray) -> np.ndarray:
        """Return how far all moments are from one (28,), shape (n_moments,)."""
        wanted, found = moment * self._scale, np.empty(len(self), np.float32)
        for start in range(0, len(found), BLOCK_MOMENTS):
            block = self._facets.moments[start : start + BLOCK_MOMENTS] * self._scale
            found[start : start + len(block)] = np.linalg.norm(block - wanted, axis=1)
        return np.round(found, 4)

    def nearest_of_songs(self, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return each song's nearest moment: its distance (inf where there is none) and its row, each (n_songs,)."""
        distance = np.full(len(self.first) - 1, np.inf)
        row = np.zeros(len(distance), np.int64)
        songs = np.flatnonzero(self._facets.n_moments)
        if len(songs):
            distance[songs] = np.minimum.reduceat(distances, self.first[songs])
            is_nearest = distances == np.repeat(distance, self._facets.n_moments)
            rows = np.flatnonzero(is_nearest)
            of_song = np.searchsorted(self.first, rows, side="right") - 1
            row[of_song[::-1]] = rows[::-1]  # the first of several
        return distance, row

    def typical(self, moments: np.ndarray) -> int:
        """Return which of the moments (n, 28) of one song is the most like the others."""
        scaled = moments * self._scale
        mean = scaled.mean(axis=0)
        return int(np.round(np.linalg.norm(scaled - mean, axis=1), 4).argmin())


def span_s(heard: Facets, number: int) -> tuple[float, float]:
    """Return from where to where the moment ``number`` of the one recording of ``heard`` lasts, in seconds."""
    bpm = tempo_bpm(heard)
    start_s = float(heard.moment_start_s[number])
    later_s = float(heard.moment_start_s[number + 1]) if number + 1 < len(heard.moments) else np.inf
    longest_s = 60 * BEATS_PER_MOMENT / bpm if bpm else LONGEST_S
    return start_s, max(start_s, min(start_s + longest_s, later_s, float(heard.duration_s[0])))


def moment_at(heard: Facets, at_s: float) -> int:
    """Return the number of the moment at a time of the one recording of ``heard``, else the last before; QueryError."""
    duration_s = float(heard.duration_s[0])
    if not 0 <= at_s <= duration_s:
        raise QueryError(f"the moment must be between 0 and {duration_s:.1f} s, got {at_s!r:.20}")
    return max(0, int(np.searchsorted(heard.moment_start_s, at_s, side="right")) - 1)
