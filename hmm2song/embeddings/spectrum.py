"""Mel spectra of 16 kHz sound, as the networks for style and voice were trained on them.

They equal ``librosa.feature.melspectrogram`` but are made in blocks: an hour of sound would take a gigabyte at once.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.fft

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.machine import import_librosa

BLOCK_FRAMES = 2048


@lru_cache(maxsize=4)
def mel_weights(n_fft: int, n_bands: int) -> np.ndarray:
    """Return how much of each frequency goes into each mel band; shape (n_fft // 2 + 1, n_bands), float32."""
    return np.ascontiguousarray(import_librosa().filters.mel(sr=SAMPLE_RATE_HZ, n_fft=n_fft, n_mels=n_bands).T)


def band_power(samples: np.ndarray, hop: int, weights: np.ndarray) -> np.ndarray:
    """Return weighted sums of the power spectrum of each frame; shape (len(samples) // hop + 1, n_bands), float32.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32
        Mono at 16 kHz. Frames are centred at multiples of ``hop``; beyond the ends it is silent.
    hop : int
        Samples from one frame to the next.
    weights : np.ndarray, shape (n_fft // 2 + 1, n_bands)
    """
    n_fft = 2 * (len(weights) - 1)
    taper = import_librosa().filters.get_window("hann", n_fft).astype(np.float32)
    padded = np.pad(samples.astype(np.float32, copy=False), n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    power = np.empty((len(frames), weights.shape[1]), np.float32)
    for start in range(0, len(frames), BLOCK_FRAMES):
        spectrum = scipy.fft.rfft(frames[start : start + BLOCK_FRAMES] * taper)
        power[start : start + BLOCK_FRAMES] = (spectrum.real**2 + spectrum.imag**2) @ weights
    return power
