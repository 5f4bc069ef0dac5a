"""From scores to probabilities, with "none of these" as one of the answers.

A conditional logit (McFadden 1974) over the ranked songs and one outside option::

    P(song i) = exp(b s_i) / (exp(b s_0) + sum_j exp(b s_j)),      b = sharpness * (voiced_s / 6)^exponent

where ``s`` are match scores in semitones (higher is better) and ``s_0`` is the score at which "not among these songs"
is as likely as the song. A hum of few notes fits everything well, and among more songs a better chance resemblance is
to be expected: so ``s_0`` follows the *crowd*, the mean score of the songs ranked fifth to twelfth, which are wrong
whatever the first is. Scores of written and of tracked melodies mean different things, so each kind has constants and a
crowd of its own; what they have in common is the odds against none. The constants are fitted by
``scripts/studies/fit_confidence.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

REFERENCE_VOICED_S = 6.0
MIN_VOICED_S = 0.5
CROWD_RANKS = slice(4, 12)
MIN_CROWD_SONGS = 50
"""The fifth of a handful of songs is no sign of how well chance fits: with fewer, the crowd is typical at least."""


@dataclass(frozen=True)
class LogitConstants:
    """The constants: ``b`` for a hum of six voiced seconds and its growth; ``s_0`` and its share of the crowd.

    ``s_0 = none_score_st + crowd_weight * (crowd - typical_crowd_st)``. All but the typical crowd are fitted.
    """

    sharpness_per_st: float
    length_exponent: float
    none_score_st: float
    crowd_weight: float
    typical_crowd_st: float


WRITTEN = LogitConstants(26.595, 0.624, none_score_st=-0.450, crowd_weight=0.876, typical_crowd_st=-0.75)
RECORDINGS = LogitConstants(25.28, 0.115, none_score_st=-0.76, crowd_weight=1.068, typical_crowd_st=-0.9)
"""Of tracked melodies in a catalog that the encoder for recordings made."""
TRACKED = LogitConstants(23.647, 0.395, none_score_st=-0.763, crowd_weight=1.109, typical_crowd_st=-0.9)


@dataclass(frozen=True, eq=False)
class Confidence:
    """``song`` has shape (n,), the probability of each score given; ``none`` is that of a song not searched."""

    song: np.ndarray
    none: float


def log_odds(scores_st: np.ndarray, voiced_s: float, constants: LogitConstants) -> np.ndarray:
    """Return the log odds of each song against none of them, shape (n,).

    ``scores_st`` (n,) are match scores in semitones of the best songs of one kind, best first, ``voiced_s`` the seconds
    of melody in the hum, ``constants`` those of the kind: :data:`WRITTEN`, :data:`TRACKED` or
    :data:`RECORDINGS`.
    """
    crowd = scores_st[CROWD_RANKS]
    typical_st = constants.typical_crowd_st
    crowd_st = float(crowd.mean()) if len(crowd) else typical_st
    if len(scores_st) < MIN_CROWD_SONGS:
        crowd_st = max(crowd_st, typical_st)
    none_st = constants.none_score_st + constants.crowd_weight * (crowd_st - typical_st)
    length = max(voiced_s, MIN_VOICED_S) / REFERENCE_VOICED_S
    return constants.sharpness_per_st * length**constants.length_exponent * (scores_st - none_st)


def probabilities(odds: np.ndarray) -> Confidence:
    """Return calibrated probabilities for log odds against none, shape (n,), of all kinds together."""
    logits = np.append(odds, 0.0)
    weights = np.exp(logits - logits.max())
    shares = weights / weights.sum()
    return Confidence(shares[:-1], float(shares[-1]))
