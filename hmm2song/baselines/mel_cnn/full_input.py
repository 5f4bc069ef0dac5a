"""Voice where there is voice, accompaniment elsewhere: the "full input" of the first source system.

Conventions
-----------
* Both stems are float32, mono, 22,050 Hz, and start together; the result is as long as the longer one.
* The two rules of the source system tell where there is voice. Both are kept as they were, mistakes included:

``amplitude`` (its slides)
    Voice at every sample whose |voice| exceeds the mean of |voice| over the song. A wave passes zero twice per period,
    so this switches between voice and accompaniment 2,000 times a second in real songs, inside every sung note, and
    turns off soft singing. What one hears is the voice with its small samples replaced.
``difference`` (its notebook)
    a_k = mean |voice| of the k-th block of 1/8 s; d_k = sqrt(1 + (a_k+1 - a_k)^2), the length of the line between
    neighbouring points; voice at both blocks of every pair with d_k > mean(d); pauses of up to 2 s between such blocks
    are bridged. This finds *changes* of loudness, not voice: a note held for more than 2 s is cut out, and a click in
    the bleed of an instrumental passes. The mean is of squares, so a few shouts turn off the softer verses; and as a_k
    is far below 1, d_k differs from 1 by some 10^-4 only (it is computed in double precision).
"""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise

import numpy as np

from hmm2song.baselines.mel_cnn.mel import SAMPLE_RATE_HZ
from hmm2song.errors import AudioError

BLOCKS_PER_S = 8
BLOCK_SAMPLES = SAMPLE_RATE_HZ // BLOCKS_PER_S
"""2,756 samples: 1/8 s, rounded down."""
LONGEST_PAUSE_S = 2.0
LONGEST_PAUSE_BLOCKS = round(LONGEST_PAUSE_S * BLOCKS_PER_S)


class Rule(StrEnum):
    """How to tell where there is voice; see the module."""

    AMPLITUDE = "amplitude"
    DIFFERENCE = "difference"


def full_input(voice: np.ndarray, accompaniment: np.ndarray, rule: Rule) -> np.ndarray:
    """Return the voice where the rule finds one, the accompaniment elsewhere.

    Parameters
    ----------
    voice, accompaniment : np.ndarray, shapes (n,) and (m,), float32
        The two stems; the shorter one is continued with silence.
    rule : Rule
        Where there is voice.

    Returns
    -------
    np.ndarray, shape (max(n, m),), float32

    Raises
    ------
    AudioError
        Both are empty.
    """
    n_samples = max(len(voice), len(accompaniment))
    if n_samples == 0:
        raise AudioError("voice and accompaniment are empty; separate the song again")
    voice, accompaniment = _continued(voice, n_samples), _continued(accompaniment, n_samples)
    return np.where(voiced_samples(voice, rule), voice, accompaniment)


def voiced_samples(voice: np.ndarray, rule: Rule) -> np.ndarray:
    """Return where the rule finds voice in a stem of shape (n,): bool, same shape."""
    return voiced_by_amplitude(voice) if rule is Rule.AMPLITUDE else voiced_by_difference(voice)


def voiced_by_amplitude(voice: np.ndarray) -> np.ndarray:
    """Return where |voice| exceeds its mean over the song (the slides' rule): bool (n,) of samples (n,)."""
    magnitude = np.abs(voice)
    return magnitude > magnitude.mean(dtype=np.float64)


def voiced_by_difference(voice: np.ndarray) -> np.ndarray:
    """Return where the loudness changes more than on average (the notebook's rule): bool (n,) of samples (n,)."""
    loudness = block_means(voice)
    distance = np.sqrt(1.0 + np.diff(loudness) ** 2)
    changing = distance > distance.mean() if len(distance) else np.zeros(0, dtype=bool)
    voiced = np.zeros(len(loudness), dtype=bool)
    voiced[:-1] |= changing
    voiced[1:] |= changing
    return np.repeat(_bridged(voiced), BLOCK_SAMPLES)[: len(voice)]


def block_means(voice: np.ndarray) -> np.ndarray:
    """Return mean |voice| per block of 1/8 s, the last block as long as it is: float64, shape (n_blocks,)."""
    starts = np.arange(0, len(voice), BLOCK_SAMPLES)
    sums = np.add.reduceat(np.abs(voice, dtype=np.float64), starts)
    return sums / np.diff(np.append(starts, len(voice)))


def _bridged(voiced: np.ndarray) -> np.ndarray:
    """Return the blocks with every pause of up to 2 s between voiced ones filled."""
    bridged = voiced.copy()
    places = np.flatnonzero(voiced)
    for before, after in pairwise(places):
        if after - before - 1 <= LONGEST_PAUSE_BLOCKS:
            bridged[before:after] = True
    return bridged


def _continued(samples: np.ndarray, n_samples: int) -> np.ndarray:
    return np.pad(samples, (0, n_samples - len(samples)))
