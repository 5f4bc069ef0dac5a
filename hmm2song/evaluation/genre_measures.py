"""What predicted genres, and songs found by them, are worth where no song of the same artist helps.

The fifth source system, the gate of the third, and what is better are measured on one table of features.

Songs of one artist share a voice, a band and a studio. Where they stand among those that are learned from or found, any
method looks good. So folds hold whole artists, and of a query's neighbours those by its own artist do not count.

Methods are chosen without the songs they are measured on: settings, weights and temperature come from inner folds, of
whole artists too, of the songs learned from.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import cdist
from scipy.special import log_softmax, softmax
from scipy.stats import skew
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC

from hmm2song.errors import CatalogError
from hmm2song.evaluation.accuracy import Estimate, estimate
from hmm2song.evaluation.baselines.genre_features import FEATURES, FeatureTable, train_genres
from hmm2song.similar.neighbours import farness_among

N_NEAREST = 5
N_INNER_FOLDS = 4
N_BINS = 10
"""Of the calibration error."""
QUERY_WEIGHT = 0.5
"""Of the probability that the query has the genre of a song, beside mutual proximity, 0 to 1."""
LARGEST_DEVIATION = 4.0
IS_LOGARITHMIC = np.array(
    [name.endswith("_var") or name == "tempo" or name.split("_mean")[0] in
     ("rms", "spectral_centroid", "spectral_bandwidth", "rolloff", "zero_crossing_rate") for name in FEATURES]
)  # fmt: skip
"""Columns that are positive and spread over orders of magnitude."""

Method = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Learns from features (n, 57), genres (n,) and artists (n,), and says something of all genres for other features."""


@dataclass(frozen=True, eq=False)
class GenreData:
    """Songs with features, the number of their genre, the fold to be measured in, and their artist."""

    features: np.ndarray
    genre: np.ndarray
    fold: np.ndarray
    artist: np.ndarray

    @classmethod
    def read(cls, table: str | Path, folds: str | Path) -> GenreData:
        """Read features, and a table of ``filename``, ``fold``, ``artist_group``; CatalogError if they do not fit."""
        songs = FeatureTable.read(table)
        place = {name: row for row, name in enumerate(songs.names)}
        try:
            with Path(folds).open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            chosen = [place[row["filename"]] for row in rows]
            fold, artist = ([row[name] for row in rows] for name in ("fold", "artist_group"))
        except (KeyError, ValueError) as error:
            raise CatalogError(f"{Path(folds).name} does not fit {Path(table).name}: {error!r:.100}") from error
        genre = np.unique(songs.genres, return_inverse=True)[1][chosen]
        numbers = (np.unique(values, return_inverse=True)[1] for values in (fold, artist))
        return cls(songs.features[chosen], genre, *numbers)

    def split_at_random(self, seed: int = 0) -> GenreData:
        """Return the same songs in as many folds that part artists, and with none left out for its artist."""
        n_songs, n_folds = len(self.genre), len(np.unique(self.fold))
        fold = np.random.default_rng(seed).permutation(np.arange(n_songs) % n_folds)
        return GenreData(self.features, self.genre, fold, np.arange(n_songs))

    @property
    def n_genres(self) -> int:
        """How many genres there are."""
        return int(self.genre.max()) + 1

    @property
    def logarithms(self) -> np.ndarray:
        """The features with the logarithms of those that are :data:`IS_LOGARITHMIC`."""
        return np.where(IS_LOGARITHMIC, np.log(np.maximum(self.features, 1e-12)), self.features)


@dataclass(frozen=True)
class GenreRow:
    """Accuracy of a method, and how far its probabilities are off (expected calibration error)."""

    name: str
    accuracy: Estimate
    calibration_error: float


@dataclass(frozen=True)
class SimilarRow:
    """Share of the query's genre among the five nearest by other artists.

    ``hub_skew`` is the skew of how often each song is among them, ``never_found`` the share of songs that never are.
    """

    name: str
    precision: Estimate
    hub_skew: float
    never_found: float


def genre_rows(data: GenreData) -> tuple[list[GenreRow], np.ndarray]:
    """Return a row a method, and the probabilities of the last and best one, shape (n_songs, n_genres)."""
    methods: dict[str, tuple[Method, np.ndarray]] = {
        "S5: XGBoost": (boosted, data.features),
        "logistic regression": (lambda *known: softmax(logistic(0.05)(*known), axis=1), data.logarithms),
        "logistic, SVM and LDA together": (pooled, data.logarithms),
    }
    found = {name: over_folds(data, features, method) for name, (method, features) in methods.items()}
    rows = [
        GenreRow(name, estimate(probability.argmax(axis=1) == data.genre), calibration_error(probability, data.genre))
        for name, probability in found.items()
    ]
    return rows, list(found.values())[-1]


def similar_rows(data: GenreData, probability: np.ndarray) -> list[SimilarRow]:
    """Return a row a method; the genres of the songs that are found are taken for known, those of queries are not.

    ``probability`` (n_songs, n_genres) is what was said of the queries by :func:`genre_rows`.
    """
    table = FeatureTable(("",) * len(data.genre), ("",) * len(data.genre), data.features)
    vectors = scaled(data.logarithms, data.logarithms)[0]
    farness = farness_among(cdist(vectors, vectors))
    same_genre = data.genre == probability.argmax(axis=1)[:, None]
    nearness = {
        "S5: cosine, unscaled": table.similarities(is_scaled=False),
        "S5: cosine": table.similarities(),
        "mutual proximity": -farness,
        "S3: the nearest of the genre that is predicted": same_genre - farness,
        "mutual proximity and probability of the genre": QUERY_WEIGHT * probability[:, data.genre] - farness,
    }
    return [_similar_row(name, values, data) for name, values in nearness.items()]


def _similar_row(name: str, nearness: np.ndarray, data: GenreData) -> SimilarRow:
    own = data.artist[:, None] == data.artist
    nearest = np.argsort(-np.where(own, -np.inf, nearness), axis=1, kind="stable")[:, :N_NEAREST]
    n_found = np.bincount(nearest.ravel(), minlength=len(own))
    right = (data.genre[nearest] == data.genre[:, None]).mean(axis=1)
    return SimilarRow(name, estimate(right), float(skew(n_found)), float((n_found == 0).mean()))


def over_folds(data: GenreData, features: np.ndarray, method: Method) -> np.ndarray:
    """Return what ``method`` says of each fold when it has learned from the others, shape (n_songs, n_genres)."""
    said = np.zeros((len(features), data.n_genres))
    for fold in np.unique(data.fold):
        asked = data.fold == fold
        said[asked] = method(features[~asked], data.genre[~asked], data.artist[~asked], features[asked])
    return said


def scaled(known: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standardise both by what is known."""
    mean, spread = known.mean(axis=0), np.maximum(known.std(axis=0), 1e-12)
    return tuple(np.clip((each - mean) / spread, -LARGEST_DEVIATION, LARGEST_DEVIATION) for each in (known, others))


def boosted(known: np.ndarray, genre: np.ndarray, artist: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the probabilities of the fifth source system."""
    return train_genres(known, genre).predict_proba(others)


def logistic(strength: float) -> Method:
    """Return logistic regression; ``strength`` is the inverse of the regularisation."""
    return _scores_of(lambda: LogisticRegression(C=strength, max_iter=1000), "predict_log_proba")


def discriminant(shrinkage: float) -> Method:
    """Return linear discriminant analysis."""
    return _scores_of(lambda: LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage), "predict_log_proba", 0.4)


def support_vectors(strength: float, gamma: float) -> Method:
    """Return one support vector machine a genre, against all others."""
    machine = SVC(C=strength, gamma=gamma, class_weight="balanced")
    return _scores_of(lambda: OneVsRestClassifier(machine), "decision_function", 3.0)


def _scores_of(make: Callable[[], object], says: str, factor: float = 1.0) -> Method:
    """Return a classifier's scores as a method; the factor brings those of different ones to one spread."""

    def scores(known: np.ndarray, genre: np.ndarray, artist: np.ndarray, others: np.ndarray) -> np.ndarray:
        known, others = scaled(known, others)
        return factor * getattr(make().fit(known, genre), says)(others)

    return scores


FAMILIES: tuple[tuple[Method, ...], ...] = (
    tuple(logistic(strength) for strength in (0.05, 0.1, 0.2, 0.5, 1.0)),
    tuple(support_vectors(*setting) for setting in ((1, 0.01), (3, 0.01), (10, 0.01), (10, 0.003))),
    tuple(discriminant(shrinkage) for shrinkage in (0.1, 0.3)),
)
"""Of each the most accurate on the inner folds is taken."""


def pooled(known: np.ndarray, genre: np.ndarray, artist: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return probabilities from the sum of the scores of the best of each family, at the temperature that fits best."""
    folds = list(StratifiedGroupKFold(N_INNER_FOLDS, shuffle=True, random_state=0).split(known, genre, artist))
    inner, outer = 0.0, 0.0
    for family in FAMILIES:
        tried = [_inner_scores(method, known, genre, artist, folds) for method in family]
        best = int(np.argmax([(scores.argmax(axis=1) == genre).mean() for scores in tried]))
        inner, outer = inner + tried[best], outer + family[best](known, genre, artist, others)
    places = np.arange(len(genre))
    fit = minimize_scalar(
        lambda scale: -log_softmax(scale * inner, axis=1)[places, genre].mean(), bounds=(0.02, 3), method="bounded"
    )
    return softmax(fit.x * outer, axis=1)


def _inner_scores(
    method: Method, known: np.ndarray, genre: np.ndarray, artist: np.ndarray, folds: Sequence[tuple]
) -> np.ndarray:
    scores = np.zeros((len(genre), int(genre.max()) + 1))
    for learned, asked in folds:
        scores[asked] = method(known[learned], genre[learned], artist[learned], known[asked])
    return scores


def calibration_error(probability: np.ndarray, genre: np.ndarray) -> float:
    """Return how far the probability of the best genre is from the share of right ones, the mean over ten bins."""
    best, right = probability.max(axis=1), probability.argmax(axis=1) == genre
    bins = np.minimum((best * N_BINS).astype(int), N_BINS - 1)
    gaps = [abs(right[bins == k].mean() - best[bins == k].mean()) * (bins == k).mean() for k in np.unique(bins)]
    return float(sum(gaps))
