"""What the network for mixes hears: how loud each harmonic of each possible pitch is.

Conventions
-----------
* Sound is mono at 8 kHz: voices recorded by telephones are good enough to learn from, and nothing above 4 kHz can tell
  a voice from a band by the microphone alone.
* Frames lie on the melody's grid (:data:`hmm2song.melody.melody.FRAME_RATE_HZ`), centred at their times.
* Pitches are :data:`PITCHES_MIDI`, a quarter tone apart.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from hmm2song.melody.melody import FRAME_RATE_HZ, midi_to_hz

RATE_HZ = 8000
HOP = round(RATE_HZ / FRAME_RATE_HZ)
STEPS_PER_ST = 2
PITCHES_MIDI = np.arange(36.0, 84.0, 1 / STEPS_PER_ST)
"""65 to 988 Hz: what voices sing."""
HARMONICS = (0.5, 1, 2, 3, 4, 5, 6, 7, 8, 10)
"""Multiples of each pitch; the half tells a note from the octave above it."""
LONG_WINDOW, SHORT_WINDOW = 2048, 1024
"""Samples (256 and 128 ms): low harmonics lie close together, high ones move fast."""
SHORT_ABOVE_HZ = 800.0
HIGHEST_HZ = 3900.0
N_BANDS = 64
"""Bands of the whole spectrum, 62.5 Hz wide: the timbre, whatever the pitch."""
BLOCK_FRAMES = 1000
"""Frames whose spectrum is taken at a time: an hour at once would take gigabytes."""
FLOOR_DB = -60.0
"""Relative to the recording's level."""


def normalised(samples: np.ndarray) -> np.ndarray:
    """Return samples of unit root mean square, float32; silence stays silence."""
    level = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0
    return (samples / max(level, 1e-6)).astype(np.float32)


def harmonic_spectrum(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how loud the harmonics and the bands of each frame are, 0 (floor) to about 1 (the recording's level).

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32
        Mono at 8 kHz, of unit level (:func:`normalised`).

    Returns
    -------
    np.ndarray, shape (n_harmonics, n_frames, n_pitches), float32
    np.ndarray, shape (n_frames, n_bands), float32
    """
    n_frames = max(1, len(samples) // HOP)
    long, short = (_frames(samples, window, n_frames) for window in (LONG_WINDOW, SHORT_WINDOW))
    starts = range(0, n_frames, BLOCK_FRAMES)
    blocks = [_block(long[start:][:BLOCK_FRAMES], short[start:][:BLOCK_FRAMES]) for start in starts]
    harmonics, bands = zip(*blocks, strict=True)
    return np.concatenate(harmonics, axis=1), np.concatenate(bands)


def _block(long: np.ndarray, short: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n_frames = len(long)
    long, short = _decibels(long), _decibels(short)
    both = np.concatenate((long, short), axis=1)
    harmonics = both[:, _LOWER] * _LOWER_SHARE + both[:, _LOWER + 1] * _UPPER_SHARE
    bands = short[:, : SHORT_WINDOW // 2].reshape(n_frames, N_BANDS, -1).mean(axis=2)
    return harmonics.reshape(n_frames, len(HARMONICS), -1).transpose(1, 0, 2), bands


def _frames(samples: np.ndarray, window: int, n_frames: int) -> np.ndarray:
    padded = np.pad(samples, (window // 2, window // 2 + HOP))
    return np.lib.stride_tricks.sliding_window_view(padded, window)[::HOP][:n_frames]


def _decibels(frames: np.ndarray) -> np.ndarray:
    """Return the level of every frequency, scaled to 0 at the floor; shape (n_frames, window / 2 + 1), float32."""
    taper = np.hanning(frames.shape[1] + 1)[:-1].astype(np.float32)
    magnitude = np.abs(fft.rfft(frames * (taper * (2 / taper.sum())), axis=1))
    return np.maximum(np.log10(magnitude + 1e-9) * (-20 / FLOOR_DB) + 1, 0, dtype=np.float32)


def _places() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each harmonic of each pitch lies in the two spectra side by side: lower bin, shares of it and the next."""
    frequency_hz = np.outer(HARMONICS, midi_to_hz(PITCHES_MIDI)).ravel()
    is_short = frequency_hz > SHORT_ABOVE_HZ
    position = frequency_hz / RATE_HZ * np.where(is_short, SHORT_WINDOW, LONG_WINDOW)
    lower = np.floor(position).astype(int)
    share = (position - lower) * (is_audible := frequency_hz < HIGHEST_HZ)
    lower = np.where(is_audible, lower + is_short * (LONG_WINDOW // 2 + 1), 0)
    return lower, (is_audible - share).astype(np.float32), share.astype(np.float32)


_LOWER, _LOWER_SHARE, _UPPER_SHARE = _places()
