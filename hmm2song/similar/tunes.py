"""Melodic relatives: which songs share a tune, or parts of one, with a song.

Three looks, each at fewer songs than the one before:

* every song by the mean of its window embeddings (a :class:`~hmm2song.similar.neighbours.FacetSpace`);
* windows against windows: how well each window of one song is met by the best one of the other, both ways, and that as
  mutual proximity, for long songs hold something like every window;
* with the nearest few, also by windows at other tempi, pieces of the shorter song are aligned, as a hum would be. Only
  a good alignment counts: a bad one says more about the melody that is aligned with than about what both share, and so
  do windows at other tempi (slow ones make hubs of the songs that hardly move).

A later look only changes the order of the songs that it sees; they keep, in the new order, the farness that they had in
the old one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from threading import Lock

import numpy as np

from hmm2song.catalog.catalog import Catalog
from hmm2song.embeddings.contour_encoder import MelodyEncoder
from hmm2song.index.base import WindowRanges, first_windows
from hmm2song.machine import n_cores
from hmm2song.match.search import MelodySearch
from hmm2song.match.tracked import TrackedSearch
from hmm2song.match.versions import SAME_PIECE_COST_ST
from hmm2song.melody.contour import FilledContour, fill_rests
from hmm2song.melody.melody import FRAME_RATE_HZ
from hmm2song.melody.packed import PackedMelodies
from hmm2song.similar.neighbours import mean_and_spread, mutual_farness, sampling_order

MAX_COMPARED_WINDOWS = 60_000
"""Windows that are compared with those of the query; the songs that are nearest at the first look come first."""
MAX_QUERY_WINDOWS = 64
SPEEDS = (0.5, 0.71, 1.41, 2.0)
"""Tempi of the query's windows besides its own."""
N_STANDARDS = 64
MAX_STANDARD_WINDOWS = 32
"""Songs, and windows of each, by which is measured how like any song a song is."""
N_ALIGNED = 40
"""Songs nearest by windows at the query's own tempo, and as many at other tempi, that are aligned with it."""
GOOD_COST_ST = 0.4
"""Mean cost of an alignment, in semitones, from where it says nothing more."""
SHORTER = 0.9
"""A song shorter than this share of the other is aligned with it, and not the other way round."""
PIECE_S = 10.0
MAX_PIECES = 4
UNALIGNED_COST_ST = 2.5
"""Cost of a piece in a song that is too short for it: that of frames which are all wrong."""
TIE_BREAK = 1e-12
"""What keeps songs that were equally far apart in the new order."""
BLOCK_WINDOWS = 8192


class Tunes:
    """The melodies of a catalog, to compare whole songs by.

    Parameters
    ----------
    catalog : Catalog
    encoder : MelodyEncoder, optional
        The one the catalog was made with: with it, other tempi of a song are compared too.
    n_threads : int, optional
    """

    def __init__(self, catalog: Catalog, encoder: MelodyEncoder | None = None, n_threads: int | None = None) -> None:
        self._catalog = catalog
        self._encoder = encoder and encoder.that_made(catalog.encoder_fingerprint)
        self._first_window = first_windows(catalog.n_windows)
        self._n_threads = n_threads or n_cores()
        self._mean, self._spread = np.full((2, len(catalog)), np.nan)  # of likeness to the standards, where asked for
        self._measuring = Lock()  # it takes a second: who asks meanwhile waits instead of doing the same

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
            By song, of those that were aligned: the share of the pieces of the shorter one of both that lie in the
            other nearly note for note.
        """
        near = np.argsort(farness, kind="stable")
        near = near[near != song]
        n_affordable = np.searchsorted(np.cumsum(self._catalog.n_windows[near]), MAX_COMPARED_WINDOWS, side="right")
        near = near[: max(int(n_affordable), 1)]
        if len(near) == 0:
            return farness, {}
        own_tempo, other_tempi = self._windows_farness(song, near)
        rank = np.argsort(np.argsort(own_tempo, kind="stable"))
        aligned = np.unique(
            np.concatenate([np.argsort(far, kind="stable")[:N_ALIGNED] for far in (own_tempo, other_tempi)])
        )
        cost_st, share = self._aligned(song, near[aligned])
        good_st = np.full(len(near), GOOD_COST_ST)
        good_st[aligned] = np.minimum(cost_st, GOOD_COST_ST)
        refined = farness.copy()
        refined[near[np.lexsort((rank, good_st))]] = farness[near] + TIE_BREAK * np.arange(len(near))
        return refined, dict(zip(near[aligned].tolist(), share.tolist(), strict=True))

    def likeness(self, song: int, other: int) -> float:
        """Return the mean similarity of each window of one song to the best of the other, of both directions."""
        return float(self._likeness([self._windows(song, MAX_QUERY_WINDOWS)], np.array([other]))[0, 0])

    @cached_property
    def _standards(self) -> np.ndarray:
        """Positions of the songs by which is measured how like any song a song is, shape (n_standards,)."""
        return sampling_order(self._catalog.songs.column("id"))[:N_STANDARDS]

    def _windows_farness(self, song: int, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how far others are by their windows at the song's own tempo, and at others, each (n_others,)."""
        standards = self._standards
        with self._measuring:
            unmeasured = others[np.isnan(self._mean[others])]
            if len(unmeasured):
                windows = [self._windows(standard, MAX_STANDARD_WINDOWS) for standard in standards]
                likeness = self._likeness(windows, unmeasured)
                itself = unmeasured[:, None] == standards
                self._mean[unmeasured], self._spread[unmeasured] = mean_and_spread(-likeness.T, itself)
        queries = [self._windows(song, MAX_QUERY_WINDOWS), *self._at_other_tempi(song)]
        farness = []
        likeness, to_standards = self._likeness(queries, others), self._likeness(queries, standards)
        for tempi in (slice(0, 1), slice(1, None) if len(queries) > 1 else slice(0, 1)):
            mean, spread = mean_and_spread(-to_standards[tempi].max(axis=0)[None], standards[None] == song)
            distance = -likeness[tempi].max(axis=0)
            farness.append(mutual_farness(distance, mean, spread, self._mean[others], self._spread[others]))
        return farness[0], farness[1]

    def _windows(self, song: int, n: int) -> np.ndarray:
        """Return at most ``n`` windows of a song, evenly chosen, float32."""
        first, after = self._first_window[song], self._first_window[song + 1]
        chosen = np.linspace(first, after - 1, min(after - first, n)).round().astype(np.int64)
        return self._catalog.embeddings[chosen].astype(np.float32)

    def _at_other_tempi(self, song: int) -> list[np.ndarray]:
        if self._encoder is None:
            return []
        contour, found = fill_rests(self._catalog.melodies[song]), []
        for speed in SPEEDS:
            hop_s = max(self._encoder.windows.song_hop_s, contour.duration_s * speed / MAX_QUERY_WINDOWS)
            windows = self._encoder.cut(contour, hop_s, speed)
            found.append(self._encoder.embed(windows.pitch_st, windows.voiced))
        return found

    def _likeness(self, queries: Sequence[np.ndarray], others: np.ndarray) -> np.ndarray:
        """Return how alike windows of queries, each (n_windows, dim), and songs are, shape (n_queries, n_others)."""
        rows, counts = WindowRanges.whole(others).rows(self._first_window)
        likeness = np.zeros((len(queries), len(others)), np.float32)
        last, start = np.cumsum(counts), 0
        while start < len(others):  # whole songs, as many as fit into a block
            before = last[start] - counts[start]
            stop = max(start + 1, int(np.searchsorted(last, before + BLOCK_WINDOWS, side="right")))
            windows = self._catalog.embeddings[rows[before : last[stop - 1]]].astype(np.float32)
            firsts = last[start:stop] - counts[start:stop] - before
            for number, query in enumerate(queries):
                similarity = windows @ query.T
                found = np.maximum.reduceat(similarity, firsts, axis=0).mean(axis=1)
                met = np.add.reduceat(similarity.max(axis=1), firsts) / counts[start:stop]
                likeness[number, start:stop] = (found + met) / 2
            start = stop
        return likeness

    def _aligned(self, song: int, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Align pieces of a song with others, or those of a shorter one with the song.

        Returns
        -------
        cost_st, share : np.ndarray, shape (n_others,)
            The mean cost of the pieces in semitones, and the share of them that lie there nearly note for note.
        """
        length_s = self._catalog.melodies.contour_s
        is_shorter = length_s[others] < SHORTER * length_s[song]
        cost_st, share = np.zeros((2, len(others)))
        costs = self._costs_st(song, others[~is_shorter])
        cost_st[~is_shorter], share[~is_shorter] = costs.mean(axis=0), (costs < SAME_PIECE_COST_ST).mean(axis=0)
        for number in np.flatnonzero(is_shorter):
            costs = self._costs_st(int(others[number]), np.array([song]))
            cost_st[number], share[number] = costs.mean(), (costs < SAME_PIECE_COST_ST).mean()
        return cost_st, share

    def _costs_st(self, song: int, others: np.ndarray) -> np.ndarray:
        """Return the mean cost of each piece of a song in each of the others, in semitones, (n_pieces, n_others)."""
        mask = np.zeros(len(self._catalog), bool)
        mask[others] = True
        is_tracked = self._catalog.tracked[song] or self._catalog.tracked[others].any()
        pieces = _pieces(fill_rests(self._catalog.melodies[song]))
        cost_st = np.full((len(pieces), len(mask)), UNALIGNED_COST_ST)
        for number, piece in enumerate(pieces):
            placed = self._tracked.rank(piece, mask, others) if is_tracked else self._written.rank(piece, mask)
            cost_st[number, placed.song] = placed.cost_st
        return cost_st[:, others]

    @cached_property
    def _written(self) -> MelodySearch:
        return MelodySearch(self._catalog.melodies, self._n_threads, key_reach_st=0.0)

    @cached_property
    def _tracked(self) -> TrackedSearch:
        """For melodies of which one is tracked: a tracker may be an octave off."""
        return TrackedSearch(PackedMelodies.of(self._catalog.melodies), self._n_threads)


def _pieces(contour: FilledContour) -> list[FilledContour]:
    """Cut pieces evenly from a contour; one that is shorter than a piece is one piece."""
    length = round(PIECE_S * FRAME_RATE_HZ)
    n_pieces = min(MAX_PIECES, max(1, len(contour.pitch_midi) // length))
    starts = np.linspace(0, max(0, len(contour.pitch_midi) - length), n_pieces).astype(int)
    return [contour.part(int(start), int(start) + length) for start in starts]
