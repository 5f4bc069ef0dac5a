"""Search in melodies that were tracked in sound: whole songs in pitch classes, with jumps.

Trackers jump octaves, take an instrument for the voice and find voices where nobody sings; and whoever hums a recording
for half a minute repeats a verse or jumps to the chorus. So a hum is neither cut into pieces nor placed at one stretch:
it is aligned with every position of a song at once (:func:`hmm2song.match.align.place_folded`). A coarse pass chooses
the songs that get the fine one. In a catalog that is too large to be aligned with as a whole, the index chooses where
to look.
"""

from __future__ import annotations

import numpy as np

from hmm2song.match.align import SampledContours, describe_path, fold, place_folded, trace_folded
from hmm2song.match.places import Alignment, Placements
from hmm2song.melody.contour import FilledContour
from hmm2song.melody.packed import PackedMelodies

COARSE_BUDGET_S2 = 2.4e6
"""Seconds of hum times seconds of song that get the coarse pass: 28 hours of songs for a hum of 24 s."""
COARSE_RATE_HZ = 4.0
COARSE_KEYS_ST = np.arange(0.0, 12.0)
"""Once around the octave."""
COARSE_SPEEDS = (0.75, 1.0, 1.33)
N_REFINED = 30
"""Songs that get the fine pass."""
N_PROMISING = 40
"""Songs that get it, too, where the index chose: what it proposes first, however that aligns coarsely."""
FINE_RATE_HZ = 6.25
FINE_KEYS_ST = np.arange(-6.0, 6.0, 0.5)
"""Around the key that the coarse pass has found, which is a guess: keys within 2 st of it find one song in 20 less."""
TRACE_KEYS_ST = np.arange(-2.0, 2.25, 0.5)
"""Around the key that the fine pass has found: as far as that it drifts."""
FINE_SPEEDS = (0.71, 0.84, 1.0, 1.19, 1.41)


class TrackedSearch:
    """Alignment search over the tracked songs of a catalog, which are under the masks given.

    ``melodies`` are those of the catalog, ``n_threads`` the threads per search.
    """

    def __init__(self, melodies: PackedMelodies, n_threads: int) -> None:
        self.n_threads = n_threads
        self._melodies = melodies
        self._coarse = SampledContours(melodies, COARSE_RATE_HZ)
        self._fine = SampledContours(melodies, FINE_RATE_HZ)
        self._length_s = melodies.contour_s

    def rank(self, hum: FilledContour, mask: np.ndarray, promising: np.ndarray) -> Placements:
        """Align a hum that is not empty with songs; best first, each song once, ``end_s`` not filled.

        Searched are the songs under ``mask``, (n_songs of the catalog,) bool. ``promising`` are positions of those to
        prefer if not all can be aligned with.
        """
        chosen = self._affordable(hum, mask, promising)
        coarse = place_folded(
            hum,
            self._coarse,
            chosen,
            np.tile(COARSE_KEYS_ST, (len(chosen), 1)),
            COARSE_SPEEDS,
            may_drift=False,
            n_threads=self.n_threads,
        )
        best = np.argsort(coarse.cost_st, kind="stable")[:N_REFINED]
        best = coarse.take(np.union1d(best, np.flatnonzero(np.isin(chosen, promising[:N_PROMISING]))))
        keys_st = best.key_st[:, None] + FINE_KEYS_ST
        fine = place_folded(hum, self._fine, best.song, keys_st, FINE_SPEEDS, may_drift=True, n_threads=self.n_threads)
        return fine.take(np.argsort(fine.cost_st, kind="stable"))

    def affords(self, hum: FilledContour, mask: np.ndarray) -> bool:
        """Return whether the coarse pass reaches all songs under ``mask`` (n_songs of the catalog,)."""
        return bool(self._length_s[mask].sum() <= COARSE_BUDGET_S2 / hum.duration_s)

    def _affordable(self, hum: FilledContour, mask: np.ndarray, promising: np.ndarray) -> np.ndarray:
        """Return the songs under ``mask``, or as many promising ones as the budget allows."""
        if self.affords(hum, mask):
            return np.flatnonzero(mask)
        return promising[np.cumsum(self._length_s[promising]) <= COARSE_BUDGET_S2 / hum.duration_s]

    def align(self, hum: FilledContour, placements: Placements, index: int) -> Alignment:
        """Trace one placement: the longest part of it without a jump."""
        song, frames = int(placements.song[index]), self._fine.first_frame
        pitch, _ = self._fine.stretches(frames[song : song + 1], frames[song + 1 : song + 2])
        keys_st = placements.key_st[index] + TRACE_KEYS_ST
        path = trace_folded(hum, fold(pitch), keys_st, float(placements.speed[index]), FINE_RATE_HZ)
        return describe_path(hum, self._melodies.contour(song), *path)
