"""Songs nobody wrote and hums of them, for tests that need several songs told apart."""

from __future__ import annotations

import numpy as np

from hmm2song.training.singer import Singer
from hmm2song.training.voice import hum_audio

N_NOTES = 60
LOWEST_MIDI = 48
MAJOR_ST = np.array([0, 2, 4, 5, 7, 9, 11])
N_DEGREES = 14


def tune(seed: int) -> list[list[float]]:
    """A random walk over two octaves of a major scale, turning back at either end, about 25 s."""
    rng = np.random.default_rng(seed)
    degrees = np.abs(np.cumsum(rng.integers(-2, 3, N_NOTES)) % (2 * N_DEGREES) - N_DEGREES)
    lengths_s = rng.choice([0.3, 0.45, 0.6], N_NOTES)
    pitches_midi = LOWEST_MIDI + 12 * (degrees // 7) + MAJOR_ST[degrees % 7]
    return np.column_stack((np.cumsum(lengths_s) - lengths_s, 0.95 * lengths_s, pitches_midi)).tolist()


def hum(singer: Singer, *parts: tuple[int, float]) -> np.ndarray:
    """Hum the starts of tunes, each (seed of the tune, seconds), one after the other: (n,) float32 at 16 kHz."""
    rng = np.random.default_rng(0)
    hums = [hum_audio(tune(seed), singer, rng, start_s=2.0, duration_s=length_s) for seed, length_s in parts]
    return np.concatenate([samples for _, samples in hums])
