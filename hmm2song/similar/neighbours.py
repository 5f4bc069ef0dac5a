"""How far songs are from each other in one facet, made comparable by mutual proximity.

Some songs are near to many in any space of many dimensions (hubs), others to none, and a distance says nothing to
people. *Mutual proximity* (Schnitzer, Flexer, Schedl, Widmer 2012, JMLR 13) replaces the distance of two songs by the
probability that a third one is farther from both. It is computed in the form for large collections: the distances of a
song to all others are taken to be normal, with the mean and the deviation of those to a sample, and the two songs to be
independent. What is used here is *farness*, one minus mutual proximity: 0 is nearest, 1 farthest.

The sample and all that is computed from it depend on the set of songs alone, not on their order or on how the catalog
came about: adding a song gives what building anew gives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

N_SAMPLE = 500
"""Songs to which every song's distances are measured."""
LEAST_SPREAD = 1e-6
"""Deviation of distances that are all the same, as in a catalog of two songs."""
BLOCK_SONGS = 4096


def sampling_order(ids: Iterable[str]) -> np.ndarray:
    """Return the positions of songs in the order of a hash of their ids, shape (n,): its beginning is a sample."""
    keys = [hashlib.sha256(song_id.encode()).digest() for song_id in ids]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class FacetSpace:
    """The songs of a catalog in one facet.

    Attributes
    ----------
    vectors : np.ndarray, shape (n_songs, dim), float32
        Compared by Euclidean distance; zero where not known.
    known : np.ndarray, shape (n_songs,), bool
        Whether the song has this facet.
    sample : np.ndarray, shape (n_sample,)
        Positions of the songs in the sample.
    mean, spread : np.ndarray, shape (n_songs,), float64
        Mean and deviation of each song's distances to those of the sample, itself left out.
    """

    vectors: np.ndarray
    known: np.ndarray
    sample: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    squares: np.ndarray
    """Squared lengths of the vectors, (n_songs,)."""

    @classmethod
    def of(cls, vectors: np.ndarray, known: np.ndarray, order: np.ndarray) -> FacetSpace:
        """Measure songs against those that come first in ``order`` (:func:`sampling_order`) and have the facet."""
        vectors = np.where(known[:, None], vectors, 0).astype(np.float32)
        squares = np.einsum("ij,ij->i", vectors, vectors)
        sample = order[known[order]][:N_SAMPLE]
        mean, spread = np.zeros((2, len(known)))
        for start in range(0, len(known), BLOCK_SONGS):
            block = slice(start, start + BLOCK_SONGS)
            itself = np.arange(len(known))[block, None] == sample
            distance = _distances(squares[block, None], squares[sample], vectors[block] @ vectors[sample].T)
            mean[block], spread[block] = mean_and_spread(distance, itself)
        return cls(vectors, known, sample, mean, spread, squares)

    def farness(self, vector: np.ndarray, row: int | None = None) -> np.ndarray:
        """Return how far all songs are from ``vector`` (dim,), which is that of song ``row`` if given.

        Returns
        -------
        np.ndarray, shape (n_songs,), float64
            0 to 1, to six decimals so that a tie is a tie on every machine; 1 for songs without the facet.
        """
        vector = vector.astype(np.float32)
        distance = _distances(vector @ vector, self.squares, self.vectors @ vector)
        mean, spread = mean_and_spread(distance[None, self.sample], self.sample[None] == (-1 if row is None else row))
        return np.where(self.known, mutual_farness(distance, mean, spread, self.mean, self.spread), 1.0)

    def among(self, rows: np.ndarray) -> np.ndarray:
        """Return the farness between songs ``rows`` (k,), each with each, shape (k, k)."""
        vectors, squares = self.vectors[rows], self.squares[rows]
        distance = _distances(squares[:, None], squares, vectors @ vectors.T)
        mean, spread, known = self.mean[rows], self.spread[rows], self.known[rows]
        between = mutual_farness(distance, mean[:, None], spread[:, None], mean, spread)
        return np.where(known[:, None] & known, between, 1.0)


def _distances(squares: np.ndarray, other_squares: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Return Euclidean distances, given squared lengths and inner products of vectors; all float32."""
    return np.sqrt(np.maximum(squares + other_squares - 2 * products, 0))


def mean_and_spread(distance: np.ndarray, left_out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation of each row (n, m) without some of its entries, each of shape (n,), float64."""
    count = np.maximum(np.count_nonzero(~left_out, axis=1), 1)
    distance = np.where(left_out, 0, distance)
    mean = distance.sum(axis=1, dtype=np.float64) / count
    deviation = np.where(left_out, 0, distance - mean[:, None].astype(distance.dtype))
    spread = np.sqrt(np.square(deviation).sum(axis=1, dtype=np.float64) / count)
    return mean, np.maximum(spread, LEAST_SPREAD)


def mutual_farness(
    distance: np.ndarray, mean: np.ndarray, spread: np.ndarray, other_mean: np.ndarray, other_spread: np.ndarray
) -> np.ndarray:
    """Return the probability that a third song is nearer to one of the two than they are to each other."""
    nearer, other_nearer = ndtr((distance - mean) / spread), ndtr((distance - other_mean) / other_spread)
    return np.round(nearer + other_nearer - nearer * other_nearer, 6)


def farness_among(distance: np.ndarray) -> np.ndarray:
    """Return the farness of songs at any distances (n, n), measured against all of them, without a sample."""
    mean, spread = mean_and_spread(distance, np.eye(len(distance), dtype=bool))
    return mutual_farness(distance, mean[:, None], spread[:, None], mean, spread)
