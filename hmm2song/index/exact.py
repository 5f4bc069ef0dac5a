"""The index in memory: filters first, then compares every window that is left, exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from hmm2song.index.base import Neighbours, WindowRanges, first_windows
from hmm2song.machine import in_threads, one_blas_thread
from hmm2song.song import SongFilter

BLOCK_WINDOWS = 1024
"""Windows compared at once: their similarities stay in the processor's cache while they are sifted."""
MULTIPLIED_TOGETHER = 16
"""Queries are filled up to a multiple of this: such matrices are multiplied in four fifths of the time."""


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

    def n_windows(self, mask: np.ndarray | None = None) -> int:
        """Return how many windows the songs under ``mask`` (n_songs,) have, or all songs."""
        return int(self.first_window[-1] if mask is None else _ChosenRows.of(self.first_window, mask).first_number[-1])

    def windows_of(self, ranges: WindowRanges) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`hmm2song.index.base.WindowIndex`."""
        rows, counts = ranges.rows(self.first_window)
        return self.rows_of(rows), counts

    def rows_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the embeddings of rows (n,), shape (n, dim), float32."""
        return _single(self.embeddings[rows])

    def nearest(
        self, queries: np.ndarray, k: int, mask: np.ndarray | None = None, wanted: SongFilter | None = None
    ) -> Neighbours:
        """See :class:`hmm2song.index.base.WindowIndex`; without a mask all songs are searched."""
        chosen = _ChosenRows.of(self.first_window, mask)
        shares = [range(first, chosen.n_blocks, self.n_threads) for first in range(self.n_threads)]
        with one_blas_thread():
            found = in_threads(lambda share: self._scan(queries, chosen, share, k), shares, self.n_threads)
        row, similarity = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        row, similarity = np.take_along_axis(row, order, axis=1), np.take_along_axis(similarity, order, axis=1)
        song = np.searchsorted(self.first_window, row, side="right") - 1
        missing = row < 0
        return Neighbours(np.where(missing, -1, song), np.where(missing, -1, row - self.first_window[song]), similarity)

    def _scan(self, queries: np.ndarray, chosen: _ChosenRows, blocks: range, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and similarities (n_queries, k) of the best windows in ``blocks``, in no order."""
        best_row = np.full((len(queries), k), -1, np.int64)
        best = np.full((len(queries), k), -np.inf, np.float32)
        columns = np.zeros(
            (queries.shape[1], -(-len(queries) // MULTIPLIED_TOGETHER) * MULTIPLIED_TOGETHER), np.float32
        )
        columns[:, : len(queries)] = queries.T
        for rows in map(chosen.block, blocks):
            has_gaps = rows[-1] + 1 - rows[0] > len(rows)  # what a filter leaves out is not read, or decoded
            windows = self.embeddings[rows if has_gaps else slice(rows[0], rows[-1] + 1)]
            _sift(_single(windows) @ columns, rows, best, best_row)
        return best_row, best


@dataclass(frozen=True, eq=False)
class _ChosenRows:
    """The rows of the windows that are searched, as runs without a gap: a filter leaves fewer runs than rows.

    Run ``i`` begins with the row ``first_row[i]``, which is number ``first_number[i]`` of the chosen ones; the last
    number is that of all.
    """

    first_row: np.ndarray
    first_number: np.ndarray

    @classmethod
    def of(cls, first_window: np.ndarray, mask: np.ndarray | None) -> _ChosenRows:
        """Choose the windows of the songs under ``mask`` (n_songs,), or of all."""
        chosen = np.ones(len(first_window) - 1, bool) if mask is None else mask
        begins, ends = (
            np.flatnonzero(np.diff(np.concatenate(([False], chosen, [False])).astype(np.int8))).reshape(-1, 2).T
        )
        first_row = first_window[begins]
        return cls(first_row, np.concatenate(([0], np.cumsum(first_window[ends] - first_row))))

    @property
    def n_blocks(self) -> int:
        """How many blocks of :data:`BLOCK_WINDOWS` there are."""
        return -(-int(self.first_number[-1]) // BLOCK_WINDOWS)

    def block(self, index: int) -> np.ndarray:
        """Return the rows of a block."""
        number = np.arange(index * BLOCK_WINDOWS, min((index + 1) * BLOCK_WINDOWS, self.first_number[-1]))
        first, last = np.searchsorted(self.first_number, number[[0, -1]], side="right") - 1
        run = first if first == last else np.searchsorted(self.first_number, number, side="right") - 1
        return number + (self.first_row - self.first_number[:-1])[run]


def _single(half: np.ndarray) -> np.ndarray:
    """Convert float16 (n, dim), finite, to float32; twelve times as fast as numpy."""
    half = half.view()
    half.setflags(write=False)  # as in a mapped file: or it would be compiled for both
    single = np.empty(half.shape, np.float32)
    _widen(half.ravel().view(np.int16), single.ravel())
    return single


@numba.njit(nogil=True, cache=True)
def _widen(half, single):
    """Move sign, exponent and fraction of 16-bit floats to where 32-bit floats have them, and scale the exponent."""
    for index in range(len(half)):
        bits = np.int32(half[index])
        bits = np.int32((bits & np.int32(-2147483648)) | ((bits & np.int32(0x7FFF)) << np.int32(13)))
        single[index] = bits.view(np.float32) * np.float32(2.0**112)


@numba.njit(nogil=True, cache=True)
def _sift(similarity, rows, best, best_row):
    """Put what is better than the worst so far into each query's heap, whose first element is the worst.

    ``similarity`` has a row for each of ``rows`` and a column for each query, and some more.
    """
    worst = best[:, 0].copy()
    for index in range(len(rows)):
        if _is_any_above(similarity[index, : len(worst)], worst):
            for query in range(len(worst)):
                if similarity[index, query] > worst[query]:
                    _replace_worst(best[query], best_row[query], similarity[index, query], rows[index])
                    worst[query] = best[query, 0]


@numba.njit(nogil=True, cache=True)
def _is_any_above(values, limits):
    """Return whether one of the values is above its limit; a loop without a way out compares many at a time."""
    above = np.int32(0)
    for index in range(len(values)):
        above |= np.int32(values[index] > limits[index])
    return above != 0


@numba.njit(nogil=True, cache=True)
def _replace_worst(heap, heap_row, value, row):
    """Put a value and its row in the place of the worst of a heap."""
    place, k = 0, len(heap)
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
    heap[place], heap_row[place] = value, row
