"""Vector search: which windows of the catalog are most like a hum's windows.

:class:`WindowIndex` is all that the search needs; :class:`ExactIndex` holds the catalog's embeddings in memory, filters
first and then scans, :class:`hmm2song.index.milvus.MilvusIndex` asks a Milvus server. Similarity is the inner product
of unit embeddings.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numba
import numpy as np
import torch

from hmm2song.catalog.catalog import Catalog
from hmm2song.song import SongFilter

BLOCK_WINDOWS = 8192
"""Windows compared at once: their similarities stay in the processor's cache while they are sifted."""


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

    def nearest(self, queries: np.ndarray, wanted: SongFilter, k: int) -> Neighbours:
        """Return the ``k`` windows most like each of ``queries`` (n, dim) float32, of songs that pass ``wanted``."""
        ...

    def windows_of(self, ranges: WindowRanges) -> tuple[np.ndarray, np.ndarray]:
        """Return the embeddings (m, dim) float32 of ranges, one after the other, and how many each has (n,)."""
        ...


@dataclass(frozen=True, eq=False)
class ExactIndex:
    """The whole catalog in memory, compared exactly.

    Attributes
    ----------
    catalog : Catalog
    first_window : np.ndarray, shape (n_songs + 1,), int64
        Song ``i`` owns the windows ``first_window[i]`` to ``first_window[i + 1]``.
    n_threads : int
    """

    catalog: Catalog
    first_window: np.ndarray
    n_threads: int

    @classmethod
    def of(cls, catalog: Catalog, n_threads: int) -> ExactIndex:
        """Index a catalog."""
        return cls(catalog, np.concatenate(([0], np.cumsum(catalog.n_windows, dtype=np.int64))), n_threads)

    def windows_of(self, ranges: WindowRanges) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`WindowIndex`."""
        rows, counts = ranges.rows(self.first_window)
        return _single(self.catalog.embeddings[rows]), counts

    def nearest(self, queries: np.ndarray, wanted: SongFilter, k: int) -> Neighbours:
        """See :class:`WindowIndex`."""
        songs = np.flatnonzero(self.catalog.selection(wanted).mask)
        rows, _ = WindowRanges.whole(songs).rows(self.first_window)
        blocks = [rows[at : at + BLOCK_WINDOWS] for at in range(0, len(rows), BLOCK_WINDOWS)]
        shares = [blocks[first :: self.n_threads] for first in range(self.n_threads)]
        with ThreadPoolExecutor(self.n_threads) as pool:
            found = list(pool.map(lambda share: self._scan(queries, share, k), shares))
        row, similarity = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        row, similarity = np.take_along_axis(row, order, axis=1), np.take_along_axis(similarity, order, axis=1)
        song = np.searchsorted(self.first_window, row, side="right") - 1
        missing = row < 0
        return Neighbours(np.where(missing, -1, song), np.where(missing, -1, row - self.first_window[song]), similarity)

    def _scan(self, queries: np.ndarray, blocks: list[np.ndarray], k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and similarities (n_queries, k) of the best windows in ``blocks``, in no order."""
        best_row = np.full((len(queries), k), -1, np.int64)
        best = np.full((len(queries), k), -np.inf, np.float32)
        for rows in blocks:
            windows = self.catalog.embeddings[rows[0] : rows[-1] + 1]
            if len(windows) != len(rows):  # a filter left gaps
                windows = self.catalog.embeddings[rows]
            _sift(queries @ _single(windows).T, rows, best, best_row)
        return best_row, best


def _single(half: np.ndarray) -> np.ndarray:
    """Convert float16 to float32; torch does it six times as fast as numpy."""
    return torch.from_numpy(half).float().numpy()


@numba.njit(nogil=True, cache=True)
def _sift(similarity, rows, best, best_row):
    """Put what is better than the worst so far into each query's heap, whose first element is the worst."""
    n_queries, n_rows = similarity.shape
    k = best.shape[1]
    for query in range(n_queries):
        heap, heap_row = best[query], best_row[query]
        worst = heap[0]
        for index in range(n_rows):
            value = similarity[query, index]
            if value <= worst:
                continue
            place = 0
            while True:
                child = 2 * place + 1
                if child >= k:
                    break
                if child + 1 < k and heap[child + 1] < heap[child]:
                    child += 1
                if heap[child] >= value:
                    break
                heap[place], heap_row[place] = heap[child], heap_row[child]
                place = child
            heap[place], heap_row[place] = value, rows[index]
            worst = heap[0]
