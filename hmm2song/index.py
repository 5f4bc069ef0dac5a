"""Window votes: how well the windows of a hum agree with the windows of a song, in order and in time.

Every window of the hum (cut once a song hop, at several tempi and two phases) is compared with every window of a song
by the inner product of their embeddings; a *time-consistent path* then walks through the song's windows, advancing by
nought to two per hum window, and its mean similarity is the song's vote. :class:`ExactIndex` filters first, then
multiplies; it holds the whole catalog in memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from hmm2song.encoder import MelodyEncoder
from hmm2song.melody import FRAME_RATE_HZ
from hmm2song.windows import FilledContour, cut_windows

VOTE_SPEEDS = tuple(2.0 ** (step / 6) for step in range(-5, 6))
"""Tempo hypotheses: windows are compared frame by frame, so they must be finer than an alignment's."""
MIN_HUM_FILL = 0.5
"""A hum's last window must be filled by half, or it says more about its edge than about the melody."""


@dataclass(frozen=True, eq=False)
class ExactIndex:
    """Exact window comparison.

    Attributes
    ----------
    embeddings : np.ndarray, shape (n_windows, dim), float16
    first_window : np.ndarray, shape (n_songs + 1,), int64
        Song ``i`` owns the windows ``first_window[i]`` to ``first_window[i + 1]``.
    encoder : MelodyEncoder
        The one the embeddings were made with.
    """

    embeddings: np.ndarray
    first_window: np.ndarray
    encoder: MelodyEncoder

    @classmethod
    def from_counts(cls, embeddings: np.ndarray, n_windows: np.ndarray, encoder: MelodyEncoder) -> ExactIndex:
        """Make an index from the number of windows of each song, shape (n_songs,)."""
        first_window = np.concatenate(([0], np.cumsum(n_windows, dtype=np.int64)))
        return cls(embeddings, first_window, encoder)

    def votes(self, hum: FilledContour, songs: np.ndarray) -> np.ndarray:
        """Return the vote for each of ``songs``.

        Parameters
        ----------
        hum : FilledContour
            Not empty.
        songs : np.ndarray, shape (n,), int
            Positions of the songs to compare with.

        Returns
        -------
        np.ndarray, shape (n,), float32
            Mean similarity along the best path of all hypotheses: 1 for identical melodies, 0.4 to 0.8 for others,
            which share at least the range most of their notes lie in.
        """
        counts = self.first_window[songs + 1] - self.first_window[songs]
        local_start = np.concatenate(([0], np.cumsum(counts)))
        windows = np.repeat(self.first_window[songs] - local_start[:-1], counts) + np.arange(local_start[-1])
        song_windows = self.embeddings[windows].astype(np.float32)
        best = np.full(len(songs), -np.inf, dtype=np.float32)
        for speed in VOTE_SPEEDS:
            for phase in (0.0, 0.5):
                self._vote_at(hum, speed, phase, song_windows, local_start, best)
        return best

    def _vote_at(
        self, hum: FilledContour, speed: float, phase: float,
        song_windows: np.ndarray, local_start: np.ndarray, best: np.ndarray,
    ) -> None:  # fmt: skip
        """Raise ``best`` to the votes at one tempo, with the windows starting ``phase`` hops into the hum."""
        encoder = self.encoder
        n_skipped = round(phase * encoder.song_hop_s / speed * FRAME_RATE_HZ)
        rest = FilledContour(hum.pitch_midi[n_skipped:], hum.offset_s)
        first_sample_s = encoder.window_s / encoder.n_frames / 2
        if rest.duration_s * speed <= first_sample_s:
            return  # nothing is left to compare
        windows = cut_windows(rest, encoder.window_s, encoder.song_hop_s, encoder.n_frames, speed, MIN_HUM_FILL)
        filled_share = np.float32(np.count_nonzero(~np.isnan(windows.pitch_st)) / encoder.n_frames)
        hums = encoder.encode_hum(windows.pitch_st)
        n_hum, n_hypotheses, dim = hums.shape
        similarity = song_windows @ hums.reshape(n_hum * n_hypotheses, dim).T
        similarity = similarity.reshape(len(song_windows), n_hum, n_hypotheses).max(axis=2)
        _raise_to_best_paths(similarity, local_start, filled_share, best)


@numba.njit(nogil=True, cache=True, fastmath=True)
def _raise_to_best_paths(similarity, local_start, filled_share, best):
    n_hum = similarity.shape[1]
    for song in range(len(local_start) - 1):
        start, n_song = local_start[song], local_start[song + 1] - local_start[song]
        reached = similarity[start : start + n_song, 0].copy()
        following = np.empty(n_song, np.float32)
        for i in range(1, n_hum):
            for j in range(n_song):
                highest = reached[j]
                if j >= 1 and reached[j - 1] > highest:
                    highest = reached[j - 1]
                if j >= 2 and reached[j - 2] > highest:
                    highest = reached[j - 2]
                following[j] = highest + similarity[start + j, i]
            reached, following = following, reached
        vote = reached.max() / filled_share
        if vote > best[song]:
            best[song] = vote
