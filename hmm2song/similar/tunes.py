"""Melodic relatives: which songs share a tune, or parts of one, with a song.

Three looks, each at fewer songs than the one before:

* every song by the mean of its window embeddings (a :class:`~hmm2song.similar.neighbours.FacetSpace`);
* windows against windows: how well each window of one song is met by the best one of the other, both ways;
* for the best few, pieces of the song are aligned with the others' melodies, as a hum would be, in any key and at other
  tempi. In catalogs of notes that finds versions in another metre, whose windows hold other things.

A later look only changes the order of the songs that it sees; they keep, in the new order, the farness that they had in
the old one.
"""

from __future__ import annotations

import numpy as np

from hmm2song.catalog.catalog import Catalog
from hmm2song.index.base import WindowRanges, first_windows
from hmm2song.machine import n_cores
from hmm2song.match.ranking import VOTE_WEIGHT_ST
from hmm2song.match.search import MelodySearch
from hmm2song.match.tracked import TrackedSearch
from hmm2song.match.versions import SAME_PIECE_COST_ST
from hmm2song.melody.contour import FilledContour, fill_rests
from hmm2song.melody.melody import FRAME_RATE_HZ
from hmm2song.melody.packed import PackedMelodies

MAX_COMPARED_WINDOWS = 200_000
"""Windows that are compared with those of the query; the nearest songs by the first look come first."""
MAX_QUERY_WINDOWS = 128
N_ALIGNED = 60
"""Songs with which pieces are aligned."""
PIECE_S = 10.0
MAX_PIECES = 4
UNALIGNED_COST_ST = 2.5
"""Cost of a piece in a song that is too short for it: that of frames which are all wrong."""
BLOCK_WINDOWS = 16_384


class Tunes:
    """The melodies of a catalog, to compare whole songs by."""

    def __init__(self, catalog: Catalog, n_threads: int | None = None) -> None:
        self._catalog = catalog
        self._first_window = first_windows(catalog.n_windows)
        self._n_threads = n_threads or n_cores()

    def means(self) -> np.ndarray:
        """Return the mean of each song's windows as a unit vector, shape (n_songs, dim), float32."""
        sums = np.add.reduceat(self._catalog.embeddings, self._first_window[:-1], axis=0, dtype=np.float32)
        return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), np.float32(1e-6))

    def refined(self, song: int, farness: np.ndarray) -> tuple[np.ndarray, dict[int, float]]:
        """Look at the others a second and a third time.

        Parameters
        ----------
        song : int
        farness : np.ndarray, shape (n_songs,)
            From the first look.

        Returns
        -------
        farness : np.ndarray, shape (n_songs,)
        shared : dict from int to float
            By song, of those that were aligned: the share of the pieces that lie in it nearly note for note.
        """
        near = np.argsort(farness, kind="stable")
        near = near[near != song]
        n_affordable = np.searchsorted(np.cumsum(self._catalog.n_windows[near]), MAX_COMPARED_WINDOWS, side="right")
        near = near[: max(int(n_affordable), 1)]
        if len(near) == 0:
            return farness, {}
        likeness = self.likeness(song, near)
        best_first = np.argsort(-likeness, kind="stable")
        aligned, others = near[best_first[:N_ALIGNED]], near[best_first[N_ALIGNED:]]
        cost_st = self._costs_st(song, aligned)
        score_st = VOTE_WEIGHT_ST * likeness[best_first[:N_ALIGNED]] - cost_st.mean(axis=0)
        refined = farness.copy()
        refined[np.concatenate((aligned[np.argsort(-score_st, kind="stable")], others))] = farness[near]
        shared = (cost_st < SAME_PIECE_COST_ST).mean(axis=0)
        return refined, dict(zip(aligned.tolist(), shared.tolist(), strict=True))

    def likeness(self, song: int, others: np.ndarray) -> np.ndarray:
        """Return the mean similarity of each window to the best of the other song, of both directions, (n_others,)."""
        first, after = self._first_window[song], self._first_window[song + 1]
        own = np.linspace(first, after - 1, min(after - first, MAX_QUERY_WINDOWS)).round().astype(np.int64)
        own_windows = self._catalog.embeddings[own].astype(np.float32)
        rows, counts = WindowRanges.whole(others).rows(self._first_window)
        likeness = np.zeros(len(others), np.float32)
        last = np.cumsum(counts)
        start = 0
        while start < len(others):  # whole songs, as many as fit into a block
            before = last[start] - counts[start]
            stop = max(start + 1, int(np.searchsorted(last, before + BLOCK_WINDOWS, side="right")))
            windows = self._catalog.embeddings[rows[before : last[stop - 1]]].astype(np.float32)
            similarity, firsts = windows @ own_windows.T, last[start:stop] - counts[start:stop] - before
            found = np.maximum.reduceat(similarity, firsts, axis=0).mean(axis=1)
            met = np.add.reduceat(similarity.max(axis=1), firsts) / counts[start:stop]
            likeness[start:stop] = (found + met) / 2
            start = stop
        return likeness

    def _costs_st(self, song: int, others: np.ndarray) -> np.ndarray:
        """Return the mean cost of each piece of a song in each of the others, in semitones, (n_pieces, n_others)."""
        pieces = _pieces(fill_rests(self._catalog.melodies[song]))
        everyone = np.ones(len(others), bool)
        melodies = [self._catalog.melodies[other] for other in others]
        if self._catalog.tracked[song] or self._catalog.tracked[others].any():  # a tracker may be an octave off
            tracked = TrackedSearch(PackedMelodies.of(melodies), self._n_threads)
            placements = [tracked.rank(piece, everyone, np.arange(len(others))) for piece in pieces]
        else:
            written = MelodySearch(melodies, self._n_threads, key_reach_st=0.0)
            placements = [written.rank(piece, everyone) for piece in pieces]
        cost_st = np.full((len(pieces), len(others)), UNALIGNED_COST_ST)
        for number, placed in enumerate(placements):
            cost_st[number, placed.song] = placed.cost_st
        return cost_st


def _pieces(contour: FilledContour) -> list[FilledContour]:
    """Cut pieces evenly from a contour; one that is shorter than a piece is one piece."""
    length = round(PIECE_S * FRAME_RATE_HZ)
    n_pieces = min(MAX_PIECES, max(1, len(contour.pitch_midi) // length))
    starts = np.linspace(0, max(0, len(contour.pitch_midi) - length), n_pieces).astype(int)
    return [contour.part(int(start), int(start) + length) for start in starts]
