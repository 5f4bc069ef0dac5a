"""From scores to probabilities, with "none of these" as one of the answers.

A conditional logit (McFadden 1974) over the ranked songs and one outside option::

    P(song i) = exp(b s_i) / (exp(b s_0) + sum_j exp(b s_j)),      b = sharpness * (voiced_s / 6)^exponent

where ``s`` are match scores in semitones (higher is better) and ``s_0`` is the score at which "not in the catalog" is
as likely as the song; it rises with the number of songs searched, because among more songs a better chance resemblance
is to be expected. The constants are fitted by ``scripts/fit_confidence.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

REFERENCE_VOICED_S = 6.0
REFERENCE_SONGS = 1000


@dataclass(frozen=True)
class LogitConstants:
    """The fitted constants: ``b`` for a hum of six voiced seconds, its growth, and ``s_0`` for a thousand songs."""

    sharpness_per_st: float
    length_exponent: float
    none_score_st: float
    none_per_decade_st: float
    """Rise of ``s_0`` per tenfold number of songs."""


FITTED = LogitConstants(sharpness_per_st=20.0, length_exponent=0.5, none_score_st=-0.7, none_per_decade_st=0.05)


@dataclass(frozen=True, eq=False)
class Confidence:
    """``song`` has shape (n,), the probability of each score given; ``none`` is that of a song not searched."""

    song: np.ndarray
    none: float


def probabilities(
    scores_st: np.ndarray, voiced_s: float, n_searched: int, constants: LogitConstants = FITTED
) -> Confidence:
    """Return calibrated probabilities.

    Parameters
    ----------
    scores_st : np.ndarray, shape (n,)
        Match scores of the best songs, in semitones.
    voiced_s : float
        Seconds of melody in the hum.
    n_searched : int
        Songs the best ones were chosen from.
    constants : LogitConstants
        The fitted ones, unless they are being fitted.
    """
    sharpness = constants.sharpness_per_st * (max(voiced_s, 0.5) / REFERENCE_VOICED_S) ** constants.length_exponent
    decades = np.log10(max(n_searched, 1) / REFERENCE_SONGS)
    none_score = constants.none_score_st + constants.none_per_decade_st * decades
    logits = sharpness * np.append(scores_st, none_score)
    weights = np.exp(logits - logits.max())
    shares = weights / weights.sum()
    return Confidence(shares[:-1], float(shares[-1]))
