"""Sound -> log-mel picture, as the first source system made them.

Conventions
-----------
* Samples are float32, mono, 22,050 Hz, full scale +-1.
* A picture covers exactly 10 s: 128 mel bands (0 to 11,025 Hz, Slaney's scale and norm) x 431 frames (FFT of 2048
  samples, Hann window, one frame every 512 samples, the first centred on the first sample).
* Values are decibels relative to a mel power of 1, cut off 80 dB below the loudest value of the picture, which is
  ``librosa.power_to_db`` with its defaults. So they are not invariant to loudness, neither were the source system's.

Where we differ: the source system padded the *picture* of a clip shorter than 10 s with zeros. 0 dB is not silence but
louder than 85 % of the values of twelve real songs, so the network saw a bright block at the end of every song. Here
the *sound* is padded with zeros, which gives the lowest value of the picture.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from hmm2song.errors import AudioError, Hmm2SongError

SAMPLE_RATE_HZ = 22_050
CLIP_S = 10.0
CLIP_SAMPLES = round(CLIP_S * SAMPLE_RATE_HZ)
N_FFT = 2048
HOP_SAMPLES = 512
N_MELS = 128
N_FRAMES = 1 + CLIP_SAMPLES // HOP_SAMPLES
"""431: centred frames, so one more than there are hops."""
TOP_DB = 80.0
"""Depth of a picture below its loudest value: librosa's default."""


def load_librosa() -> ModuleType:
    """Import librosa: only the source system's sounds and pictures need it, so it is loaded when they are made.

    Raises
    ------
    Hmm2SongError
        It is not installed.
    """
    try:
        import librosa
    except ImportError as error:
        raise Hmm2SongError(
            f"librosa is missing ({error}); install it with: pip install -r requirements-dataset.txt"
        ) from error
    return librosa


def log_mel(samples: np.ndarray) -> np.ndarray:
    """Return the log-mel picture of a clip.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32
        Mono samples at 22,050 Hz, 1 to 220,500 of them (10 s). Fewer are continued with silence.

    Returns
    -------
    np.ndarray, shape (128, 431), float32
        Decibels; row 0 is the lowest band. Silence alone is -100 throughout (-99.99999, in single precision).

    Raises
    ------
    AudioError
        No samples, more than 10 s, several channels, or samples that are not finite numbers.
    """
    if samples.ndim != 1 or not 0 < len(samples) <= CLIP_SAMPLES:
        raise AudioError(
            f"a clip has 1 to {CLIP_SAMPLES} mono samples ({CLIP_S:g} s at {SAMPLE_RATE_HZ} Hz), not an array of shape "
            f"{samples.shape}; cut it first"
        )
    if not np.isfinite(samples).all():
        raise AudioError("the clip has samples that are not finite numbers (NaN or infinite); decode it again")
    padded = np.zeros(CLIP_SAMPLES, dtype=np.float32)
    padded[: len(samples)] = samples
    librosa = load_librosa()
    power = librosa.feature.melspectrogram(
        y=padded, sr=SAMPLE_RATE_HZ, n_fft=N_FFT, hop_length=HOP_SAMPLES, n_mels=N_MELS
    )
    return librosa.power_to_db(power, top_db=TOP_DB)
