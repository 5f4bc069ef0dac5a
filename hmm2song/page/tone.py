"""The match as sound where the catalog has no recording: the melody as a soft tone.

Conventions
-----------
* A tone is int16, mono, :data:`SAMPLE_RATE_HZ`; its peak is :data:`PEAK` of full scale.
"""

from __future__ import annotations

import numpy as np

from hmm2song.melody.melody import FRAME_RATE_HZ, Melody, midi_to_hz

SAMPLE_RATE_HZ = 22050
PARTIALS = (1.0, 0.45, 0.2, 0.1, 0.05)
"""Amplitudes of the overtones, 6-7 dB apart: soft, but a phone that swallows the lowest has the rest."""
FADE_S = 0.03
"""Rise and fall of every note group: shorter clicks, longer smears."""
PEAK = 0.5
FULL_SCALE = 32767


def melody_tone(song: Melody, start_s: float, end_s: float) -> np.ndarray:
    """Synthesise a stretch of a melody, clipped to it: (n,) int16, silent where there is no pitch, at least one sample.

    Additive synthesis with a continuous phase: partials at multiples of the pitch, faded at every pause.
    """
    stretch = song.slice_s(start_s, end_s)
    n_samples = max(1, round(stretch.duration_s * SAMPLE_RATE_HZ))
    if not stretch.voiced.any():
        return np.zeros(n_samples, dtype=np.int16)
    frame = np.arange(n_samples) * (FRAME_RATE_HZ / SAMPLE_RATE_HZ)
    voiced_frames = np.flatnonzero(stretch.voiced)
    # Held between frames, not interpolated: notes step, and a glide in 25 steps a second sounds smooth.
    nearest = np.minimum(frame.astype(int), len(stretch.pitch_midi) - 1)
    held = np.interp(np.arange(len(stretch.pitch_midi)), voiced_frames, stretch.pitch_midi[voiced_frames])
    f0_hz = midi_to_hz(held)[nearest]
    phase = 2 * np.pi * np.cumsum(f0_hz) / SAMPLE_RATE_HZ
    tone = np.zeros(n_samples)
    for number, amplitude in enumerate(PARTIALS, start=1):
        audible = number * f0_hz < SAMPLE_RATE_HZ / 2
        tone += audible * amplitude * np.sin(number * phase)
    tone *= _envelope(stretch.voiced[nearest])
    return np.round(tone / np.abs(tone).max() * PEAK * FULL_SCALE).astype(np.int16)


def _envelope(voiced: np.ndarray) -> np.ndarray:
    """Turn the voiced flag, shape (n,), into an amplitude that changes smoothly and is 0 at both ends."""
    half = round(FADE_S * SAMPLE_RATE_HZ)
    flag = voiced.astype(float)
    flag[:half] = flag[-half:] = 0.0
    fade = np.hanning(2 * half + 1)
    return np.convolve(flag, fade / fade.sum(), mode="same")[: len(flag)]
