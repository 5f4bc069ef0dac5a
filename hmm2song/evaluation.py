"""Retrieval metrics for query by humming.

Conventions
-----------
* The *rank* of a query is the position (from 1) of the first acceptable song in the ranking; 0 means "not in it".
* Top-k is the share of queries with rank 1..k; MRR the mean of 1/rank, with 0 for "not in it" (Downie et al., MIREX
  query-by-singing/humming).
* Intervals are 95 % percentile bootstrap intervals over queries (Efron 1979).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

N_RESAMPLES = 2000
INTERVAL_PERCENTILES = (2.5, 97.5)


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


def retrieval_scores(ranks: Sequence[int], seed: int = 0) -> RetrievalScores:
    """Compute the metrics of ranks (n,), n >= 1, with bootstrap intervals drawn from ``seed``."""
    ranks = np.asarray(ranks)
    reciprocal = np.divide(1.0, ranks, out=np.zeros(len(ranks)), where=ranks > 0)
    columns = [(ranks >= 1) & (ranks <= k) for k in (1, 3, 10)] + [reciprocal]
    per_query = np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)
    rng = np.random.default_rng(seed)
    resampled = np.stack([per_query[rng.integers(0, len(ranks), len(ranks))].mean(axis=0) for _ in range(N_RESAMPLES)])
    low, high = np.percentile(resampled, INTERVAL_PERCENTILES, axis=0)
    estimates = [Estimate(*map(float, row)) for row in zip(per_query.mean(axis=0), low, high, strict=True)]
    return RetrievalScores(len(ranks), *estimates)
