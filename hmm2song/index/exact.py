"""The index in memory: filters first, then compares every window that is left, exactly."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np

from hmm2song.index.base import Neighbours, WindowRanges, first_windows
from hmm2song.machine import one_blas_thread
from hmm2song.song import SongFilter

BLOCK_WINDOWS = 1024
"""Windows compared at once: their similarities stay in the processor's cache while they are sifted."""


@dataclass(frozen=True, eq=False)
class ExactIndex:
    """Windows of songs, compared exactly.

    Attributes
    ----------
    embeddings : np.ndarray, shape (n_windows, dim), float16
        The windows of one song after the other.
    first_window : np.ndarray, shape (n_songs + 1,), int64
        Song ``i`` owns the windows ``first_window[i]`` to ``first_window[i + 1]``.
    n_threads : int
    """

    embeddings: np.ndarray
    first_window: np.ndarray
    n_threads: int

    @classmethod
    def of(cls, embeddings: np.ndarray, n_windows: np.ndarray, n_threads: int) -> ExactIndex:
        """Index embeddings of which ``n_windows[i]`` belong to song ``i``."""
        return cls(embeddings, first_windows(n_windows), n_threads)

    def windows_of(self, ranges: WindowRanges) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`hmm2song.index.base.WindowIndex`."""
        rows, counts = ranges.rows(self.first_window)
        return _single(self.embeddings[rows]), counts

    def nearest(
        self, queries: np.ndarray, k: int, mask: np.ndarray | None = None, wanted: SongFilter | None = None
    ) -> Neighbours:
        """See :class:`hmm2song.index.base.WindowIndex`; without a mask all songs are searched."""
        songs = np.arange(len(self.first_window) - 1) if mask is None else np.flatnonzero(mask)
        rows, _ = WindowRanges.whole(songs).rows(self.first_window)
        blocks = [rows[at : at + BLOCK_WINDOWS] for at in range(0, len(rows), BLOCK_WINDOWS)]
        shares = [blocks[first :: self.n_threads] for first in range(self.n_threads)]
        with one_blas_thread(), ThreadPoolExecutor(self.n_threads) as pool:
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
            windows = self.embeddings[rows[0] : rows[-1] + 1]
            if len(windows) != len(rows):  # a filter left gaps
                windows = self.embeddings[rows]
            _sift(queries @ _single(windows).T, rows, best, best_row)
        return best_row, best


def _single(half: np.ndarray) -> np.ndarray:
    """Convert float16 (n, dim), finite, to float32; six times as fast as numpy."""
    single = np.empty(half.shape, np.float32)
    _widen(half.ravel().view(np.int16), single.ravel().view(np.int32))
    single *= np.float32(2.0**112)  # what the exponents of both types differ by
    return single


@numba.njit(nogil=True, cache=True)
def _widen(half, single):
    """Move sign, exponent and fraction of 16-bit floats to where 32-bit floats have them."""
    for index in range(len(half)):
        bits = np.int32(half[index])
        single[index] = np.int32((bits & np.int32(-2147483648)) | ((bits & np.int32(0x7FFF)) << np.int32(13)))


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
