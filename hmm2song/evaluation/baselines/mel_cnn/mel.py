"""A song's sound -> clips of 10 s -> log-mel pictures, as the first source system made them.

Conventions
-----------
* Samples are float32, mono, 22,050 Hz, full scale +-1.
* A song is cut into 10 s every 8 s, so that neighbours share 2 s. The last clip ends with the song and may be shorter.
  No clip lies wholly in the one before it, so a song of 10 s or less is one clip, and the last one of a longer song has
  more than 2 s.
* A picture covers exactly 10 s: 128 mel bands (0 to 11,025 Hz, Slaney's scale and norm) x 431 frames (FFT of 2048
  samples, Hann window, one frame every 512 samples, the first centred on the first sample).
* Values are decibels relative to a mel power of 1, cut off 80 dB below the loudest value of the picture, which is
  ``librosa.power_to_db`` with its defaults. So they are not invariant to loudness, neither were the source system's.

One thing differs: the source system padded the *picture* of a clip shorter than 10 s with zeros. 0 dB is not silence
but louder than 85 % of the values of twelve real songs, so the network saw a bright block at the end of every song.
Here the *sound* is padded with zeros, which gives the lowest value of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from hmm2song.errors import AudioError, Hmm2SongError

SAMPLE_RATE_HZ = 22_050
CLIP_S = 10.0
CLIP_SAMPLES = round(CLIP_S * SAMPLE_RATE_HZ)
CLIP_HOP_S = 8.0
CLIP_HOP_SAMPLES = round(CLIP_HOP_S * SAMPLE_RATE_HZ)
N_FFT = 2048
HOP_SAMPLES = 512
N_MELS = 128
N_FRAMES = 1 + CLIP_SAMPLES // HOP_SAMPLES
"""431: centred frames, so one more than there are hops."""
TOP_DB = 80.0
"""Depth of a picture below its loudest value: librosa's default."""


@dataclass(frozen=True)
class Segment:
    """A clip as samples ``start`` to ``stop`` (not included) of its song at 22,050 Hz."""

    start: int
    stop: int

    @property
    def start_s(self) -> float:
        """Where the clip begins in its song, in seconds."""
        return self.start / SAMPLE_RATE_HZ

    @property
    def duration_s(self) -> float:
        """How long it is, in seconds: 10 unless it is the end of the song."""
        return (self.stop - self.start) / SAMPLE_RATE_HZ


def segments(n_samples: int) -> list[Segment]:
    """Return the clips of a song with this many samples at 22,050 Hz; none if it is empty."""
    if n_samples <= 0:
        return []
    n_more = -(-max(0, n_samples - CLIP_SAMPLES) // CLIP_HOP_SAMPLES)
    starts = range(0, (n_more + 1) * CLIP_HOP_SAMPLES, CLIP_HOP_SAMPLES)
    return [Segment(start, min(start + CLIP_SAMPLES, n_samples)) for start in starts]


def load_librosa() -> ModuleType:
    """Import librosa, which only the source system needs; raises Hmm2SongError if it is missing."""
    try:
        import librosa
    except ImportError as error:
        raise Hmm2SongError(
            f"librosa is missing ({error}); install it with: pip install -r requirements-dataset.txt"
        ) from error
    return librosa


def log_mel(samples: np.ndarray) -> np.ndarray:
    """Return the log-mel picture (128, 431), float32, of a clip of 1 to 220,500 samples (n,); silence follows fewer.

    Values are decibels; row 0 is the lowest band. Silence alone is -100 throughout (-99.99999, in single precision).
    Raises AudioError for no samples, more than 10 s, several channels, or samples that are not finite numbers.
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
