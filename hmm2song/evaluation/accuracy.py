"""Evaluation of query by humming: tables of hums whose song is known, and retrieval metrics.

Conventions
-----------
* The *rank* of a query is the position (from 1) of the first acceptable song in the ranking; 0 means "not in it".
* Top-k is the share of queries with rank 1..k; MRR the mean of 1/rank, with 0 for "not in it" (Downie et al., MIREX
  query-by-singing/humming).
* Intervals are 95 % percentile bootstrap intervals over queries (Efron 1979).
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import bootstrap

from hmm2song.errors import Hmm2SongError
from hmm2song.script import table_rows

N_RESAMPLES = 2000
N_SINGER_RESAMPLES = 200
BATCH_RESAMPLES = 200
"""Resamples computed at once: with thousands of queries all of them would take hundreds of megabytes."""


@dataclass(frozen=True)
class Query:
    """A hum and the ids of the songs that answer it; ``singer`` is empty where the table does not tell.

    ``name`` is the file as the table has it.
    """

    file: Path
    name: str
    acceptable: tuple[str, ...]
    singer: str = ""


def read_queries(path: Path) -> list[Query]:
    """Read a CSV with the columns file,song_id and perhaps singer; others are ignored.

    Files are relative to the table; several acceptable ids are joined by ``|``. Hmm2SongError if the table cannot be
    read, lacks a column, holds no hum, or a row lacks its file or song.
    """
    rows = table_rows(path, "file", "song_id")
    return [_query_of(row, path, number) for number, row in enumerate(rows, start=1)]


def sampled(queries: list[Query], limit: int | None, seed: int) -> list[Query]:
    """Return ``limit`` random queries, or all of them in their order if there are no more or no limit is given."""
    return queries if limit is None or limit >= len(queries) else random.Random(seed).sample(queries, limit)


def _query_of(row: dict[str, str], path: Path, number: int) -> Query:
    name, songs, singer = (row.get(column, "").strip() for column in ("file", "song_id", "singer"))
    acceptable = tuple(filter(None, map(str.strip, songs.split("|"))))
    if not name or not acceptable:
        raise Hmm2SongError(f"{path}, row {number}: file or song_id is empty; fill it in or drop the row")
    return Query(path.parent / name, name, acceptable, singer)


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Return plain JSON types, rounded to four places."""
        return {"value": round(self.value, 4), "low": round(self.low, 4), "high": round(self.high, 4)}


@dataclass(frozen=True)
class RetrievalScores:
    """Metrics over ``n`` queries."""

    n: int
    top1: Estimate
    top3: Estimate
    top10: Estimate
    mrr: Estimate

    def to_dict(self) -> dict:
        """Return plain JSON types."""
        metrics = {name: getattr(self, name).to_dict() for name in ("top1", "top3", "top10", "mrr")}
        return {"n": self.n, **metrics}


def rank_of(ranked_ids: Sequence[str], acceptable_ids: Collection[str]) -> int:
    """Return the position from 1 of the first acceptable id, or 0 if there is none."""
    return next((rank for rank, song_id in enumerate(ranked_ids, start=1) if song_id in acceptable_ids), 0)


def estimate(values: np.ndarray, seed: int = 0) -> Estimate:
    """Return the mean of ``values`` (n,), n >= 1, with its percentile bootstrap interval drawn from ``seed``."""
    values = np.asarray(values, dtype=np.float64)
    mean = float(values.mean())
    if len(values) == 1:
        return Estimate(mean, mean, mean)
    # Not BCa, which gives NaN where all values are equal, as when every hum is found.
    interval = bootstrap(
        (values,), np.mean, n_resamples=N_RESAMPLES, batch=BATCH_RESAMPLES, method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return Estimate(mean, float(interval.low), float(interval.high))


def retrieval_scores(ranks: Sequence[int], seed: int = 0) -> RetrievalScores:
    """Compute the metrics of ranks (n,), n >= 1; all intervals are drawn over the same resamples."""
    ranks = np.asarray(ranks)
    reciprocal = np.divide(1.0, ranks, out=np.zeros(len(ranks)), where=ranks > 0)
    columns = [(ranks >= 1) & (ranks <= k) for k in (1, 3, 10)] + [reciprocal]
    return RetrievalScores(len(ranks), *(estimate(column, seed) for column in columns))


@dataclass(frozen=True)
class SingerScores:
    """How well likeness tells singers apart; intervals by drawing singers, not hums."""

    n_singers: int
    n_hums: int
    equal_error: Estimate
    nearest: Estimate

    def to_dict(self) -> dict:
        """Return plain JSON types."""
        metrics = {"equal_error": self.equal_error.to_dict(), "nearest": self.nearest.to_dict()}
        return {"n_singers": self.n_singers, "n_hums": self.n_hums, **metrics}


def singer_scores(likeness: np.ndarray, singers: np.ndarray, songs: np.ndarray, seed: int = 0) -> SingerScores:
    """Judge the likeness (n, n) of hums by pairs of different songs.

    ``equal_error``: the share of errors at the threshold where as many pairs of one singer are refused as pairs of two
    accepted. ``nearest``: how often the hum most like a hum is of the same singer. Needs pairs of both kinds.
    """
    names, who = np.unique(singers, return_inverse=True)
    songs = np.asarray(songs)
    other_song = songs[:, None] != songs
    first, second = np.nonzero(np.triu(other_song, 1))
    order = np.argsort(-likeness[first, second], kind="stable")
    first, second = who[first[order]], who[second[order]]
    same = first == second
    right = who[np.where(other_song, likeness, -np.inf).argmax(axis=1)] == who

    def measure(count: np.ndarray) -> tuple[float, float]:
        """Measure with each singer drawn so many times; two drawings of one singer are no two singers."""
        weight = np.where(same, count[first], count[first] * count[second])
        accepted, wrong = np.cumsum(weight * same), np.cumsum(weight * ~same)
        refused, wrong = 1 - accepted / accepted[-1], wrong / wrong[-1]
        at = int(np.argmax(wrong >= refused))
        return float(refused[at] + wrong[at]) / 2, float(np.average(right, weights=count[who]))

    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), N_SINGER_RESAMPLES)
    low, high = np.percentile([measure(draw) for draw in draws if np.count_nonzero(draw) > 1], (2.5, 97.5), axis=0)
    estimates = (Estimate(*values) for values in zip(measure(np.ones(len(names), int)), low, high, strict=True))
    return SingerScores(len(names), len(who), *estimates)
