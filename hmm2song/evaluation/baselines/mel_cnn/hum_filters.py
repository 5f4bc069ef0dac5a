"""The five "hums" that the first source system made of a clip.

====== ==============================================================================
``fh`` Butterworth high-pass, order 1, 1 kHz, forwards and backwards (zero phase)
``fl`` Butterworth low-pass, order 1, 5 kHz, forwards and backwards (zero phase)
``mh`` pitch shifted up by 3 semitones ("monotone high")
``ml`` pitch shifted down by 3 semitones ("monotone low")
``n``  Gaussian noise added, mean 0.005 and standard deviation 0.01 of full scale
====== ==============================================================================

What is wrong with them, and kept: none of them is like a hum. Words, timing, accompaniment and every note remain. A
filter of order 1 falls by 12 dB per octave when run forwards and backwards, so ``fl`` takes away next to nothing, and
``fh`` weakens the very range that people hum in (100 to 700 Hz). The noise has a mean, an offset that only the lowest
mel band sees, and a fixed level, which drowns a quiet clip and is not heard in a loud one. Whoever trains on four of
the five and tests on the fifth measures how much a recording is like itself.

Samples are float32, mono, 22,050 Hz, full scale +-1; results are not clipped to it.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import butter, sosfiltfilt

from hmm2song.evaluation.baselines.mel_cnn.mel import SAMPLE_RATE_HZ, load_librosa

FILTER_ORDER = 1
HIGH_PASS_HZ = 1000.0
LOW_PASS_HZ = 5000.0
SHIFT_ST = 3.0
NOISE_MEAN = 0.005
NOISE_SD = 0.01


def high_passed(samples: np.ndarray) -> np.ndarray:
    """Return ``fh`` of a clip; both of shape (n,), float32."""
    return _zero_phase(samples, "highpass", HIGH_PASS_HZ)


def low_passed(samples: np.ndarray) -> np.ndarray:
    """Return ``fl`` of a clip; both of shape (n,), float32."""
    return _zero_phase(samples, "lowpass", LOW_PASS_HZ)


def pitch_shifted(samples: np.ndarray, shift_st: float) -> np.ndarray:
    """Return a clip shifted by some semitones, as long as before; both of shape (n,), float32.

    Librosa's phase vocoder and resampling, as in the source system.
    """
    shifted = load_librosa().effects.pitch_shift(samples, sr=SAMPLE_RATE_HZ, n_steps=shift_st)
    return shifted.astype(np.float32, copy=False)


def noisy(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return ``n`` of a clip; both of shape (n,), float32."""
    return samples + rng.normal(NOISE_MEAN, NOISE_SD, len(samples)).astype(np.float32)


def hums(samples: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the five hums of a clip (n,), not padded, by name: fh, fl, mh, ml, n; ``rng`` draws the noise."""
    return {
        "fh": high_passed(samples),
        "fl": low_passed(samples),
        "mh": pitch_shifted(samples, SHIFT_ST),
        "ml": pitch_shifted(samples, -SHIFT_ST),
        "n": noisy(samples, rng),
    }


def _zero_phase(samples: np.ndarray, kind: str, corner_hz: float) -> np.ndarray:
    sections = butter(FILTER_ORDER, corner_hz, kind, fs=SAMPLE_RATE_HZ, output="sos")
    # The usual padding of the ends needs more samples than the shortest clip may have.
    n_padding = min(3 * (FILTER_ORDER + 1), len(samples) - 1)
    return sosfiltfilt(sections, samples, padlen=n_padding).astype(np.float32)
