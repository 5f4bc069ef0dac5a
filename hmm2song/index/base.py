"""What a search asks of an index of windows: :class:`WindowIndex`, and what passes between the two.

An index knows embeddings and the songs they belong to, by position, but no catalog. Similarity is the inner product of
unit embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hmm2song.song import SongFilter


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The windows most like each query, best first; all arrays have shape (n_queries, k).

    ``song`` is a position in the catalog, ``window`` a number within that song, ``similarity`` the inner product. Rows
    with fewer than k windows to find are filled up with song -1, window -1, similarity -inf.
    """

    song: np.ndarray
    window: np.ndarray
    similarity: np.ndarray


@dataclass(frozen=True, eq=False)
class WindowRanges:
    """Stretches of songs, counted in windows; all arrays have shape (n,), int64.

    Each goes from the window ``first`` of ``song`` to before ``after``, as far as the song has them, and has at least
    one window. A song may occur several times.
    """

    song: np.ndarray
    first: np.ndarray
    after: np.ndarray

    @classmethod
    def whole(cls, songs: np.ndarray) -> WindowRanges:
        """Return the ranges that are ``songs`` (n,) from beginning to end."""
        songs = np.asarray(songs, np.int64)
        return cls(songs, np.zeros_like(songs), np.full_like(songs, np.iinfo(np.int32).max))

    def rows(self, first_window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of all windows, one range after the other, and how many each range has.

        Song ``i`` owns the rows ``first_window[i]`` to ``first_window[i + 1]``.
        """
        start, stop = first_window[self.song], first_window[self.song + 1]
        begin = np.clip(start + self.first, start, stop - 1)
        counts = np.clip(start + self.after, begin + 1, stop) - begin
        before = np.cumsum(counts) - counts
        return np.repeat(begin - before, counts) + np.arange(counts.sum()), counts


class WindowIndex(Protocol):
    """What a search asks of an index."""

    def nearest(
        self, queries: np.ndarray, k: int, mask: np.ndarray | None = None, wanted: SongFilter | None = None
    ) -> Neighbours:
        """Return the ``k`` windows most like each query, of some songs.

        Parameters
        ----------
        queries : np.ndarray, shape (n_queries, dim), float32
        k : int
        mask : np.ndarray, shape (n_songs,), bool, optional
            The songs to search; default: all.
        wanted : SongFilter, optional
            The filter that leaves these songs: an index outside this process filters by it, not by the mask.
        """
        ...

    def windows_of(self, ranges: WindowRanges) -> tuple[np.ndarray, np.ndarray]:
        """Return the embeddings (m, dim) float32 of ranges, one after the other, and how many each has (n,)."""
        ...


def first_windows(n_windows: np.ndarray) -> np.ndarray:
    """Return the row of each song's first window and the number of rows, shape (n_songs + 1,), int64."""
    return np.concatenate(([0], np.cumsum(n_windows, dtype=np.int64)))
