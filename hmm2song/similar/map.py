"""A catalog in two dimensions, and in clusters with names.

Both are fitted on the sample of the catalog (:mod:`hmm2song.similar.neighbours`) and then given to every song, so that
they depend neither on the order of the songs nor on how the catalog came about. Axes have no sign and clusters no
number of their own: on each axis the song that is farthest out is on the positive side, and clusters are numbered by
size, the largest first.

Clusters are those of k-means on the principal components. In the plane, songs are drawn to their nearest neighbours and
pushed from all others until both are in balance (t-SNE, van der Maaten and Hinton 2008, JMLR 9; begun at the first two
principal components, as Kobak and Berens 2019 advise). Songs outside the sample lie among the songs of the sample that
are nearest to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.cluster.vq import kmeans2

from hmm2song.similar.results import about
from hmm2song.song import Song

N_COMPONENTS = 16
"""Principal components in which songs are clustered: what is beyond is mostly noise."""
MAX_CLUSTERS = 12
SONGS_PER_CLUSTER = 10
"""The number of clusters is the root of the songs by this many: 9 for 864 songs."""
N_RUNS = 8
"""Runs of k-means, of which the tightest counts."""
PERPLEXITY = 15.0
"""Of t-SNE: about how many neighbours a song is drawn to."""
LEAST_UNFOLDED = 4
"""Fewer songs stay where they begin."""
N_ANCHORS = 3
"""Songs of the sample among which another one lies."""
BLOCK_SONGS = 4096


@dataclass(frozen=True, eq=False)
class Layout:
    """Places of songs: ``xy`` (n, 2) within -1 to 1, ``cluster`` (n,), numbers from 0, and ``centre``, a song each."""

    xy: np.ndarray
    cluster: np.ndarray
    centre: np.ndarray


@dataclass(frozen=True, eq=False)
class MapPoint:
    """One song on the map."""

    song: Song
    x: float
    y: float
    cluster: int

    def to_dict(self) -> dict:
        """Return plain JSON types."""
        return {**about(self.song), "x": self.x, "y": self.y, "cluster": self.cluster}


@dataclass(frozen=True, eq=False)
class Cluster:
    """Songs that lie together; ``song_id`` is the one in the middle."""

    number: int
    name: str
    n_songs: int
    song_id: str

    def to_dict(self) -> dict:
        """Return plain JSON types."""
        return {"number": self.number, "name": self.name, "n_songs": self.n_songs, "song_id": self.song_id}


@dataclass(frozen=True, eq=False)
class SongMap:
    """The songs of a catalog that have a facet, in two dimensions, and their clusters, the largest first.

    ``n_missing`` songs do not have the facet.
    """

    facet: str
    points: tuple[MapPoint, ...]
    clusters: tuple[Cluster, ...]
    notices: tuple[str, ...] = ()
    n_missing: int = 0

    def __repr__(self) -> str:
        return f"SongMap({len(self.points)} songs by {self.facet}, {len(self.clusters)} clusters)"

    def to_dict(self) -> dict:
        """Return plain JSON types."""
        return {
            "facet": self.facet,
            "points": [point.to_dict() for point in self.points],
            "clusters": [cluster.to_dict() for cluster in self.clusters],
            "notices": list(self.notices),
            "n_missing": self.n_missing,
        }


def lay_out(vectors: np.ndarray, sample: np.ndarray, farness: np.ndarray, n_clusters: int | None = None) -> Layout:
    """Lay out songs.

    Parameters
    ----------
    vectors : np.ndarray, shape (n, dim), float32
    sample : np.ndarray, shape (n_sample,)
        Positions of the songs to fit on.
    farness : np.ndarray, shape (n_sample, n_sample)
        Between the songs of the sample.
    n_clusters : int, optional
        Default: by the number of songs, see :data:`SONGS_PER_CLUSTER`. There may be fewer.
    """
    n_clusters = n_clusters or min(MAX_CLUSTERS, max(1, round(np.sqrt(len(vectors) / SONGS_PER_CLUSTER))))
    fitted = vectors[sample].astype(np.float64)
    mean = fitted.mean(axis=0)
    _, _, axes = np.linalg.svd(fitted - mean, full_matrices=False)
    components = (vectors - mean) @ axes[:N_COMPONENTS].T
    distance = np.linalg.norm(components[:, None] - _centres(components[sample], n_clusters), axis=2)
    cluster = _by_size(distance.argmin(axis=1))
    centre = []
    for number in range(cluster.max() + 1):
        members = np.flatnonzero(cluster == number)
        to_centre = np.linalg.norm(components[members] - components[members].mean(axis=0), axis=1)
        centre.append(int(members[np.round(to_centre, 6).argmin()]))
    start = np.zeros((len(sample), 2))
    start[:, : min(2, components.shape[1])] = components[sample, :2]
    xy = _placed(components, components[sample], _unfolded(farness, start))
    farthest = xy[np.abs(np.round(xy, 6)).argmax(axis=0), [0, 1]]
    return Layout(np.round(xy / np.where(farthest == 0, 1.0, farthest), 4), cluster, np.array(centre))


def _unfolded(farness: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return places (n, 2) of songs in the plane; ``start`` (n, 2) is where they begin."""
    from sklearn.manifold import TSNE  # it takes a second to import, and nothing but a map needs it

    n = len(farness)
    if n < LEAST_UNFOLDED:
        return start - start.mean(axis=0)
    begin = np.round(start / max(start.std(), 1e-9), 6) * 1e-4
    # Not method="exact", whose places differ from run to run.
    unfolding = TSNE(perplexity=min(PERPLEXITY, (n - 1) / 3), metric="precomputed", init=begin, random_state=0)
    xy = unfolding.fit_transform(farness * (1 - np.eye(n))).astype(np.float64)
    return xy - xy.mean(axis=0)


def _placed(points: np.ndarray, anchors: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Return places (n, 2) of points (n, k) among their nearest anchors (m, k), which lie at ``xy`` (m, 2)."""
    placed = np.empty((len(points), 2))
    for first in range(0, len(points), BLOCK_SONGS):
        block = points[first : first + BLOCK_SONGS]
        squares = np.square(block).sum(axis=1)[:, None] + np.square(anchors).sum(axis=1) - 2 * block @ anchors.T
        nearest = np.argsort(np.round(squares, 9), axis=1, kind="stable")[:, :N_ANCHORS]
        weight = 1 / np.maximum(np.take_along_axis(squares, nearest, axis=1), 1e-9)  # an anchor stays where it is
        weight /= weight.sum(axis=1, keepdims=True)
        placed[first : first + BLOCK_SONGS] = (weight[..., None] * xy[nearest]).sum(axis=1)
    return placed


def _centres(points: np.ndarray, n_clusters: int) -> np.ndarray:
    """Return the centres of clusters, shape (k, dim); k-means from the same seeds each time."""
    best, least = points.mean(axis=0, keepdims=True), np.inf
    if n_clusters == 1:
        return best
    for seed in range(N_RUNS):
        centres, label = kmeans2(points, min(n_clusters, len(points)), minit="++", iter=50, missing="warn", rng=seed)
        spread = np.square(points - centres[label]).sum()
        if spread < least:
            best, least = centres[np.unique(label)], spread
    return best


def _by_size(cluster: np.ndarray) -> np.ndarray:
    """Return other numbers for clusters: 0 for the largest."""
    _, number, count = np.unique(cluster, return_inverse=True, return_counts=True)
    return np.argsort(np.argsort(-count, kind="stable"))[number]


def cluster_names(cluster: np.ndarray, columns: np.ndarray, names: Sequence[str]) -> list[str]:
    """Name each cluster by what its songs have more of than others.

    Parameters
    ----------
    cluster : np.ndarray, shape (n,)
    columns : np.ndarray, shape (n, k)
        How much each song has of what is in ``names``.
    names : sequence of str
    """
    mean, spread = columns.mean(axis=0), columns.std(axis=0) + 1e-6
    found: list[str] = []
    for number in range(cluster.max() + 1):
        excess = (columns[cluster == number].mean(axis=0) - mean) / spread
        best = [names[column] for column in np.argsort(-np.round(excess, 6), kind="stable") if excess[column] > 0]
        name = ", ".join(best[:2]) or f"cluster {number + 1}"
        n_words = 2
        while name in found and n_words < len(best):
            n_words += 1
            name = ", ".join(best[:n_words])
        found.append(name)
    return found
