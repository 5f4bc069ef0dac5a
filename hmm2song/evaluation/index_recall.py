"""What an approximate index misses of the nearest windows."""

from __future__ import annotations

import numpy as np

from hmm2song.index.approximate import ApproximateIndex
from hmm2song.index.base import Neighbours

RECALL_AT = 200
SAME_SIMILARITY = 1e-5
"""Windows this close are equally near: versions of a tune share windows, and sums are rounded differently."""


def recall(index: ApproximateIndex, queries: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of the :data:`RECALL_AT` nearest neighbours under a mask that the index finds.

    Parameters
    ----------
    queries : np.ndarray, shape (n_queries, dim), float32
    mask : np.ndarray, shape (n_songs,), bool
    """
    exact, found = (each.nearest(queries, RECALL_AT, mask) for each in (index.exact, index))
    return round(share_found(exact, found), 4)


def share_found(exact: Neighbours, found: Neighbours) -> float:
    """Return the share of the nearest neighbours that were found, the mean over queries."""
    n_there = np.maximum(1, np.count_nonzero(exact.song >= 0, axis=1))
    last = exact.similarity[np.arange(len(n_there)), n_there - 1]
    n_found = np.count_nonzero(found.similarity >= last[:, None] - SAME_SIMILARITY, axis=1)
    return float(np.mean(np.minimum(n_found, n_there) / n_there))
