"""A path between two songs: each step to a song alike, none visited twice.

Songs near one end, near the other, or near both stand to choose from. A song's *progress* is its share of the farness
to both ends, 0 at the first and 1 at the last song. Along a path it only grows, so that no song comes twice and no step
leads back. Among these paths the one with the least sum of squared farness is found by dynamic programming: squares
prefer even steps to one leap.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

N_NEAREST = 150
"""Songs to choose from near each end, and near both."""
SAME_ARTIST_COST = 1.0
"""Cost of a step to the same artist: as much as one to the farthest song."""


def candidates(to_first: np.ndarray, to_last: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the positions of songs that may stand between two, given all songs' farness to both, (n_songs,)."""
    to_both = to_first**2 + to_last**2
    orders = (np.argsort(np.where(mask, far, np.inf), kind="stable") for far in (to_first, to_last, to_both))
    rows = np.unique(np.concatenate([order[:N_NEAREST] for order in orders]))
    return rows[mask[rows]]


def shortest_path(farness: np.ndarray, artists: Sequence[str], n_between: int) -> list[int] | None:
    """Return the best way from the first song to the last over ``n_between`` others, or None if there is none.

    Parameters
    ----------
    farness : np.ndarray, shape (k, k)
        Between the songs to choose from, the first and the last of which are the ends.
    artists : sequence of str
        By song; empty for nobody.
    n_between : int
    """
    n_songs = len(farness)
    progress = farness[0] / np.maximum(farness[0] + farness[-1], 1e-9)
    progress[0], progress[-1] = -1.0, 2.0
    rank = np.empty(n_songs, np.int64)
    rank[np.lexsort((np.arange(n_songs), progress))] = np.arange(n_songs)  # of songs equally far one comes first
    names = np.array(artists, dtype=object)
    same = (names[:, None] == names) & (names != "")
    step = np.where(rank[:, None] < rank, farness**2 + SAME_ARTIST_COST * same, np.inf)
    cost, came_from = step[0], []
    for _ in range(n_between):
        total = cost[:, None] + step
        came_from.append(np.argmin(total, axis=0))
        cost = total.min(axis=0)
    if not np.isfinite(cost[-1]):
        return None
    way = [n_songs - 1]
    for back in reversed(came_from):
        way.append(int(back[way[-1]]))
    return [0, *reversed(way)]
